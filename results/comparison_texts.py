"""Texts of a comparison of runs, in each of its languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from results.groups import Group
from results.significance import Outcome, Verdict


@dataclass(frozen=True)
class ComparisonTexts:
    """Texts of a comparison in one language.

    Attributes:
        headers: a column's header -> the same in this language; English if it is missing.
        outcomes: outcome of a test -> the same in this language, with {} for the reference; English if it is missing.
    """

    language: str  # for the HTML attribute lang
    title: str
    count: str  # with {runs} and {passes}
    unusable: str
    best_passes: str
    curves: str
    curves_described: str
    groups: str
    groups_described: str
    passes: str
    passes_described: str
    settings: str
    settings_described: str
    seeds: str  # with {seeds}
    how_to_read: str
    reading: tuple[str, ...]
    to: str = "to"  # between the ends of an interval
    words: Mapping[str, str] = field(default_factory=dict)  # of cells that hold a word of ours, no name
    headers: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[Outcome, str] = field(default_factory=dict)

    def cell(self, header: str, value: str, judged: Verdict | Group | None) -> str:
        """A cell of the table in this language."""
        if header == "verdict" and judged is not None:
            return self.outcomes.get(judged.outcome, value)
        if header == "its interval\n%":
            return value.replace(" to ", f" {self.to} ")
        return self.words.get(value, value) if header == "" or value == "unknown" else value


ENGLISH = ComparisonTexts(
    language="en",
    title="Comparison of LeNet runs",
    count="Runs: {runs:,}; passes: {passes:,}",
    unusable="What could not be used",
    best_passes="The best pass of each run",
    curves="Curves",
    curves_described="Curves of loss and error, or of the error alone, of each run",
    groups="Networks and recipes",
    groups_described="The best passes of runs that differ in nothing but seed and machine.",
    passes="Passes",
    passes_described="The best pass of a run is marked.",
    settings="Settings",
    settings_described="What the results of a run depend on besides its seed and machine, by network and recipe.",
    seeds="seeds {seeds}",
    how_to_read="How to read it",
    reading=(
        "The best pass of a run is chosen on validation images, or on those that its setting select on names. Its "
        "inference model is that of this pass. A score is a count over all test images; its interval is Wilson's, "
        "95 %. A difference is the test accuracy of a pass minus that of the first one in its table, over the same "
        "images.",
        "Better and worse mean: an exact McNemar test of the images that only one of the two read right gives p below "
        "0.05 after Holm's correction for the number of passes compared. The interval of the difference is a "
        "bootstrap's; all of a table's hold at once with 95 %. Groups are compared by Welch's test of the best passes' "
        "test accuracies, corrected for all pairs of groups.",
        "Not distinguishable does not mean equal: these images, or these runs, are too few to show a difference.",
    ),
)

CHINESE = ComparisonTexts(
    language="zh-CN",
    title="LeNet 训练结果比较",
    count="{runs:,} 次训练，{passes:,} 个轮次",
    unusable="未能读取的内容",
    best_passes="每次训练的最佳轮次",
    curves="曲线",
    curves_described="每次训练的损失与错误率曲线；比较多种网络时只画错误率",
    groups="网络与训练方案",
    groups_described="只有随机种子和机器不同的训练归为一组，比较各自的最佳轮次。",
    passes="轮次",
    passes_described="每次训练的最佳轮次已标出。",
    settings="训练设置",
    settings_described="除随机种子和机器外，决定训练结果的全部设置，按网络与训练方案列出；名称与命令行选项一致。",
    seeds="种子 {seeds}",
    how_to_read="如何解读",
    reading=(
        "最佳轮次在验证图片上选出（设置中 select on 另有指定的除外），训练保存的推理模型就是这一轮的模型。"
        "得分是全部测试图片中的正确数，"
        "区间为 95 % Wilson 置信区间。差值是该轮次的测试准确率减去表中第一行的测试准确率，两者使用同一批测试图片。",
        "“显著优于”和“显著差于”的含义：只统计两者之中恰有一个答对的图片做精确 McNemar 检验，"
        "按比较次数经 Holm 校正后 p 小于 0.05。差值的置信区间由自助法（bootstrap）得出，"
        "一张表中全部区间同时成立的置信度为 95 %。各组之间用 Welch 检验比较最佳轮次的测试准确率，"
        "并按所有组对校正。",
        "“无显著差异”不等于“相同”：只说明图片或训练次数太少，不足以看出差别。",
    ),
    to="至",
    words={"best": "最佳", "unknown": "未知"},
    headers={
        "run": "训练",
        "network": "网络",
        "recipe": "训练方案",
        "seed": "随机种子",
        "passes": "轮次数",
        "pass": "轮次",
        "": "",
        "validation\nloss": "验证损失",
        "test\ncorrect": "测试正确数",
        "test\n%": "测试准确率 %",
        "95 % interval\n%": "95 % 置信区间 %",
        "difference\n%": "准确率差值 %",
        "its interval\n%": "差值置信区间 %",
        "p": "p",
        "verdict": "结论",
        "runs": "训练次数",
        "mean test\n%": "平均测试准确率 %",
        "standard\ndeviation": "标准差",
        "lowest\n%": "最低 %",
        "highest\n%": "最高 %",
        "mean validation\nloss": "平均验证损失",
    },
    outcomes={
        Outcome.REFERENCE: "基准",
        Outcome.SAME: "与第一行无显著差异",
        Outcome.BETTER: "显著优于第一行",
        Outcome.WORSE: "显著差于第一行",
        Outcome.NO_ANSWERS: "未知：没有保存预测结果",
        Outcome.NO_REFERENCE_ANSWERS: "未知：第一行没有保存预测结果",
        Outcome.OTHER_IMAGES: "未知：测试图片不同",
        Outcome.TOO_FEW_RUNS: "未知：训练次数太少，或各次结果完全相同",
    },
)

TEXTS = {"en": ENGLISH, "zh": CHINESE}
