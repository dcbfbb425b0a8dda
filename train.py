"""Images in, best model out: train a LeNet on MNIST as a static program, pass by pass.

    python train.py                      # the default network, 10 passes
    python train.py --help               # every option
    python train.py --resume runs/NAME   # go on exactly where a run stopped
    python train.py --config runs/NAME --seed 2   # repeat its settings, another seed
    python train.py --network lenet5_1998 --summary   # the layers of a network

It prints one row per pass, and at the end the chosen pass. Its score on the 10,000 test images is measured on the saved
model, read back from disk. Everything about the run is in runs/NAME/; the model is published in inference_model/.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from common.command_line import parse, run
from common.console import ScriptConsole, outlive_readers, print_line
from common.errors import one_line
from common.guard import Guard
from common.processes import bind_to_share, rank_and_size
from common.signals import StopRequest
from results.run_folder import RunFolder, new_run_folder, use_threads
from training.config import repeated
from training.same_run import restore_arithmetic, resumed, what_was_finished
from training.settings import Settings

if TYPE_CHECKING:
    from data.dataset import Mnist
    from data.formats.pictures import Way
    from model.team import Team
    from training.callbacks.callback import Callback

# Title of each group of options in --help, by the group's first option.
GROUPS = {
    "network": "network and recipe",
    "passes": "optimization",
    "rotation": "distortions of the training images",
    "data": "data and the choice of the best pass",
    "engine": "computation",
    "run_dir": "folders of the run",
    "figures": "output",
}


def main(stop: StopRequest) -> int:
    """Parse; print a summary or a profile, or train."""
    settings = parse(Settings, groups=GROUPS, shown=Settings.with_recipe, config=repeated)
    if settings.summary:
        with stop.importing():
            from model.summary import print_summary

        print_summary(settings.network, settings.network_options())
        return 0
    if settings.threads:  # a resumed run takes its own count instead (restore_arithmetic)
        use_threads(settings.threads)
    if settings.profile:
        with stop.importing():
            from benchmarks.profile import print_profile

        print_profile(settings, ScriptConsole())
        return 0
    if rank_and_size()[1] > 1:
        return _train_together(settings, stop)
    if settings.resume:
        settings, folder = resumed(settings.resume, lambda default: parse(Settings, default=default))
        if finished := what_was_finished(folder, settings.passes):
            print_line(finished, ScriptConsole())
            return 0
        restore_arithmetic(folder)
    else:
        folder = new_run_folder(settings.run_dir, settings.network, settings.seed)

    try:
        return _train(settings, folder, stop)
    finally:
        folder.remove_if_unused()


def _train(settings: Settings, folder: RunFolder, stop: StopRequest, team: Team | None = None) -> int:
    with stop.importing():
        from training.callbacks.figures import Figures
        from training.callbacks.live import displays
        from training.callbacks.trackers import Tracking
        from training.loop import train  # after the settings: a mistyped option is reported before Paddle is imported

    outlive_readers(f"note: nobody reads the output any more; training goes on, see {one_line(folder.results)}")
    console, first = ScriptConsole(), team is None or team.world.rank == 0
    data = _data(settings.data_dir, settings.prepare, settings.strict, quiet=not first)
    callbacks: list[Callback] = []
    if first:
        callbacks += [*displays(console, settings.live, folder.figures), Figures(folder, settings.figures, data)]
    callbacks += [Tracking(kind, folder, data.test_images, settings.log_every) for kind in settings.log_to]
    outcome = train(settings, folder, callbacks, stop, data, team)
    if outcome:
        print_line(f"the run is in {one_line(outcome.run_dir)}/", console)
    return 0


@cache
def _data(folder: Path | None, way: Way | None, strict: bool, quiet: bool) -> Mnist:
    """The data set, loaded once: processes load it before they meet, so that none waits long for another."""
    from recognition.sets import load_data

    return load_data(folder, None if quiet else ScriptConsole(), way, strict)


def _train_together(settings: Settings, stop: StopRequest) -> int:
    """Train as one process of several, which `python -m paddle.distributed.launch` has started."""
    rank, size = rank_and_size()
    guard = Guard()
    guard.start(rank, settings.timeout, idle=settings.timeout)
    folder, finished = None, ""
    if settings.resume and (rank == 0 or settings.resume.exists()):  # another machine may not see it
        settings, folder = resumed(settings.resume, lambda default: parse(Settings, default=default))
        finished = what_was_finished(folder, settings.passes)
        restore_arithmetic(folder)
    elif rank == 0:
        folder = new_run_folder(settings.run_dir, settings.network, settings.seed)
    if settings.device == "cpu":
        os.environ.pop("FLAGS_selected_gpus", None)  # with which Paddle's launcher asks for NCCL
    processors = bind_to_share(size)
    if not settings.threads and "CONV_POOL_THREADS" not in os.environ:
        use_threads(processors)
    with stop.importing():
        from model.kernels.build import load_fused
        from model.team import Team
        from model.world import join
        from training.parallel import expect_shards, folder_of_process

        expect_shards(settings, size)
        with guard.waiting():  # a download or a compilation, its own or another process's, may take minutes
            _data(settings.data_dir, settings.prepare, settings.strict, quiet=rank != 0)
            if settings.kernel != "stock":
                load_fused()  # compiled before the processes meet; after that, none waits long for another
        world = join(guard)
    team = Team(world, stop)
    if finished := team.share(finished.encode()).decode():
        if rank == 0:
            print_line(finished, ScriptConsole())
        return 0
    own = folder_of_process(team, folder, bool(settings.resume))
    try:
        if rank and settings.resume:
            settings, own = resumed(own.path, lambda default: parse(Settings, default=default))
            settings = replace(settings, resume=own.path)
        if rank:
            settings = replace(settings, save_dir=own.path.parent / "model", export=None, figures="none", log_to=())
        return _train(settings, own, stop, team)
    except RuntimeError as error:  # gloo's and NCCL's
        raise team.explained(error) from error
    finally:
        if not rank:
            own.remove_if_unused()


if __name__ == "__main__":
    run(main)
