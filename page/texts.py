"""Texts of the page, in each of its languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from results import comparison_texts as comparison
from results.comparison_texts import ComparisonTexts


@dataclass(frozen=True)
class Texts:
    """Texts of one language; a name gives the place of its text."""

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
    not_read: str  # with {reason}
    no_digit: str
    no_class: str
    several: str
    as_seen: str
    probabilities: str
    class_probabilities: str
    every_model: str
    digits_in_row: str
    choose_model: str
    feature_maps: str
    maps: str  # with {maps}, {height}, {width}
    units: str  # with {units}
    not_finite: str  # behind one of these, with {values}

    compare_tab: str
    refresh: str
    no_runs: str
    comparison: ComparisonTexts
    reasons: Sequence[tuple[str, str]] = ()  # pattern of an error's English -> the same, with {0} for its first group

    def reason(self, error: UserError) -> str:
        """An error in this language; in English if it has no translation."""
        for pattern, words in self.reasons:
            if found := re.match(pattern, str(error)):
                return words.format(*found.groups())
        return str(error)


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
    not_read="Not read: {reason}",
    no_digit="Unlike every digit: it may be something else.",
    no_class="Unlike every class: it may be something else.",
    several="Several digits? Choose “A row” to read them all.",
    as_seen="What the network sees, 28×28",
    probabilities="Probability of each digit",
    class_probabilities="Most likely classes",
    every_model="Each model's answer",
    digits_in_row="Choose a digit to look at",
    choose_model="Choose at least one model.",
    feature_maps="Inside the network",
    maps="{maps} maps of {height}×{width}",
    units="{units} units",
    not_finite=", {values} values not finite",
    compare_tab="Compare runs",
    refresh="Refresh",
    no_runs="No run has ended a pass yet in {folder}. Train one with train.py.",
    comparison=comparison.ENGLISH,
)

CHINESE = Texts(
    language="zh-CN",
    title="LeNet-5 识别你的手写数字",
    subtitle="写数字，或上传数字图片，看看网络内部发生了什么。",
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
    too_large="图片太大，最多 {megabytes} MB。",
    models="参与识别的模型",
    nothing_read="写完一笔，结果立即显示在这里。",
    not_read="未能识别：{reason}",
    no_digit="不像任何数字，可能是别的东西。",
    no_class="不像任何类别，可能是别的东西。",
    several="好像不止一个数字：请选择“一行数字”来识别全部。",
    as_seen="网络的输入，28×28",
    probabilities="各数字的概率",
    class_probabilities="最可能的类别",
    every_model="各模型的结果",
    digits_in_row="选择要查看的数字",
    choose_model="请至少选择一个模型。",
    feature_maps="网络内部",
    maps="{maps} 张 {height}×{width} 特征图",
    units="{units} 个单元",
    not_finite="，其中 {values} 个值不是有限数",
    compare_tab="比较训练",
    refresh="刷新",
    no_runs="{folder} 中还没有完成的轮次。请先用 train.py 训练。",
    comparison=comparison.CHINESE,
    reasons=(
        ("nothing to read", "图片里没有可识别的笔迹"),
        ("expected a picture, got an empty file", "文件是空的"),
        ("expected a picture, got (none|broken base64)", "没有收到图片"),
        ("expected a picture, got one that cannot be decoded", "文件不是图片，或者已损坏"),
        ("expected a picture, got", "文件不是图片"),
        ("expected a picture that is read in", "图片需要的内存太多"),
        (r"expected at most (\d+) bytes", "图片太大，最多 {0} 字节"),
        (r"expected at most (\d+) pixels, got (\S+)", "图片有 {1} 像素，最多 {0} 像素"),
        (r"expected rows of at most (\d+) digits, got (\d+)", "图片里有 {1} 块笔迹，最多 {0} 个数字"),
        (r"not read within (\S+) s", "图片在 {0} 秒内没有读完"),
        ("the decoder crashed", "解码这张图片时出错"),
        (r"(.+): this model is gone", "模型 {0} 已不存在"),
        (r"expected at most (\d+) models", "一次最多选择 {0} 个模型"),
        ("rows: expected a model of handwriting", "这个模型不按手写数字预处理图片，不能识别成行的数字"),
        (r"(\S+): it prepares pictures otherwise", "模型 {0} 的图片预处理方式与第一个模型不同，不能一起使用"),
    ),
)
