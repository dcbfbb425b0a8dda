"""Texts of the page, in each of its languages."""

from __future__ import annotations

from dataclasses import dataclass

from results import html
from results.html import ComparisonTexts
from results.significance import Outcome


@dataclass(frozen=True)
class Texts:
    """Texts of one language; the names say where a text stands."""

    language: str  # for the HTML attribute lang
    title: str
    subtitle: str
    other_language: str  # its own name, for the link to it
    other_path: str

    read_tab: str
    kinds: str
    one_digit: str
    row: str
    draw_digit: str
    draw_row: str
    upload: str
    undo: str
    clear: str
    too_large: str  # with {megabytes}
    models: str
    nothing_read: str
    not_read: str
    no_digit: str
    several: str
    as_seen: str
    probabilities: str
    every_model: str
    digits_in_row: str
    choose_model: str
    feature_maps: str
    maps: str  # with {maps}, {height}, {width}
    units: str  # with {units}

    compare_tab: str
    refresh: str
    no_runs: str
    comparison: ComparisonTexts


ENGLISH = Texts(
    language="en",
    title="LeNet-5 reads your handwriting",
    subtitle="Draw digits, or upload a picture of some, and look inside the network.",
    other_language="中文",
    other_path="zh",
    read_tab="Read",
    kinds="Read",
    one_digit="One digit",
    row="A row",
    draw_digit="Draw a digit here",
    draw_row="Write a row of digits here",
    upload="Upload a picture",
    undo="Undo",
    clear="Clear",
    too_large="This picture is too large: at most {megabytes} MB.",
    models="Models that answer",
    nothing_read="The answer appears here as soon as you lift the pen.",
    not_read="Not read",
    no_digit="Unlike every digit: it may be something else.",
    several="Several digits? Choose “A row” to read them all.",
    as_seen="What the network sees, 28×28",
    probabilities="Probability of each digit",
    every_model="Each model's answer",
    digits_in_row="Choose a digit to look at",
    choose_model="Choose at least one model.",
    feature_maps="Inside the network",
    maps="{maps} maps of {height}×{width}",
    units="{units} units",
    compare_tab="Compare runs",
    refresh="Refresh",
    no_runs="No run has ended a pass yet in {folder}. Train one with train.py.",
    comparison=html.ENGLISH,
)

CHINESE = Texts(
    language="zh-CN",
    title="LeNet-5 识别你的手写数字",
    subtitle="写数字，或上传数字的图片，看看网络内部发生了什么。",
    other_language="English",
    other_path="",
    read_tab="识别",
    kinds="识别方式",
    one_digit="单个数字",
    row="一行数字",
    draw_digit="在这里写一个数字",
    draw_row="在这里写一行数字",
    upload="上传图片",
    undo="撤销",
    clear="清空",
    too_large="图片太大：最多 {megabytes} MB。",
    models="参与识别的模型",
    nothing_read="落笔后抬起，结果立即显示在这里。",
    not_read="未能识别",
    no_digit="不像任何数字：可能是别的东西。",
    several="好像不止一个数字：请选择“一行数字”来识别全部。",
    as_seen="网络看到的 28×28 图像",
    probabilities="各数字的概率",
    every_model="各模型的答案",
    digits_in_row="选择要查看的数字",
    choose_model="请至少选择一个模型。",
    feature_maps="网络内部",
    maps="{maps} 个 {height}×{width} 特征图",
    units="{units} 个单元",
    compare_tab="比较训练",
    refresh="刷新",
    no_runs="{folder} 里还没有完成的轮次。请先用 train.py 训练。",
    comparison=ComparisonTexts(
        language="zh-CN",
        title="LeNet 训练结果比较",
        count="{runs:,} 次训练，{passes:,} 个轮次",
        unusable="无法使用的内容",
        best_passes="每次训练的最佳轮次",
        curves="曲线",
        curves_described="每次训练各轮次的损失和错误率",
        groups="网络与训练方案",
        groups_described="只有随机种子和机器不同的训练归为一组，比较各自的最佳轮次。",
        passes="轮次",
        passes_described="每次训练的最佳轮次已标出。",
        how_to_read="如何解读",
        reading=(
            "最佳轮次在验证图片上选出，训练保存的推理模型就是这一轮的模型。得分是全部测试图片中的正确数，"
            "区间为 95 % Wilson 区间。差值是该轮次的测试准确率减去表中第一行的测试准确率，两者使用同一批测试图片。",
            "“优于”和“差于”的含义：只统计两者之中恰有一个答对的图片做精确 McNemar 检验，"
            "按比较次数经 Holm 校正后 p 小于 0.05。差值的区间由自助法（bootstrap）得出，"
            "一张表中的全部区间同时成立的置信度为 95 %。各组之间用 Welch 检验比较最佳轮次的测试准确率，"
            "并按所有组对校正。",
            "“无法区分”不等于“相同”：只说明图片或训练次数太少，看不出差别。",
        ),
        headers={
            "run": "训练",
            "network": "网络",
            "recipe": "方案",
            "seed": "种子",
            "passes": "轮次数",
            "pass": "轮次",
            "": "",
            "validation\nloss": "验证损失",
            "test\ncorrect": "测试正确数",
            "test\n%": "测试 %",
            "95 % interval\n%": "95 % 区间 %",
            "difference\n%": "差值 %",
            "its interval\n%": "差值区间 %",
            "p": "p",
            "verdict": "结论",
            "runs": "次数",
            "mean test\n%": "平均测试 %",
            "standard\ndeviation": "标准差",
            "lowest\n%": "最低 %",
            "highest\n%": "最高 %",
            "mean validation\nloss": "平均验证损失",
        },
        outcomes={
            Outcome.REFERENCE: "基准",
            Outcome.SAME: "与第一行无法区分",
            Outcome.BETTER: "优于第一行",
            Outcome.WORSE: "差于第一行",
            Outcome.NO_ANSWERS: "未知：没有保存答案",
            Outcome.NO_REFERENCE_ANSWERS: "未知：第一行没有保存答案",
            Outcome.OTHER_IMAGES: "未知：测试图片不同",
            Outcome.TOO_FEW_RUNS: "未知：训练次数太少，或结果没有离散",
        },
    ),
)
