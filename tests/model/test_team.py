"""What the processes of a run say to each other, without another process."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from common.signals import StopRequest
from model.team import Team
from model.world import World


class ThirdDiffers(World):
    """A world of three in this process: the others have what this one has, but for a number of the third's facts."""

    facts_differ = False

    def sum(self, values: np.ndarray) -> np.ndarray:
        own = np.array(values, np.float32)
        if own.ndim > 1 and len(own) == self.size:
            own[:] = own[self.rank]
            own[2] += self.facts_differ and own.ndim == 3
        return own


def test_every_process_is_compared_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team(ThirdDiffers(0, 3), StopRequest())
    team.expect_same({"data": 1})
    monkeypatch.setattr(ThirdDiffers, "facts_differ", True)
    with pytest.raises(UserError, match=r"process 2 \(\d+ on .*\): expected what process 0 has, got other data;"):
        team.expect_same({"data": 1})
