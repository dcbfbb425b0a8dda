"""Images in, best model out: train a LeNet on MNIST as a static program, pass by pass.

    python train.py                      # the default network, 10 passes, about a minute on 2 quiet cores
    python train.py --help               # every option
    python train.py --resume runs/NAME   # go on exactly where a run stopped
    python train.py --network lenet5_1998 --summary   # the layers of a network

You see one row per pass, and at the end the chosen pass with its score on the 10,000 test images, measured on the saved
model read back from disk. Everything about the run is in runs/NAME/; the model is published in inference_model/.
"""

from __future__ import annotations

if __name__ == "__main__":
    from common.packages import expect_packages
    from common.signals import leave_at_once

    leave_at_once()  # before anything else is imported
    expect_packages()

from common.command_line import parse, run
from common.console import ScriptConsole, outlive_readers
from common.errors import one_line
from common.signals import StopRequest
from results.run_folder import RunFolder, new_run_folder, use_threads
from training.resume import restore_arithmetic, what_was_finished
from training.settings import Settings, resumed

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
    """Parse, train, print the headline."""
    settings = parse(Settings, groups=GROUPS, shown=Settings.with_recipe)
    if settings.summary:
        with stop.importing():
            from model.summary import print_summary

        print_summary(settings.network, settings.network_options())
        return 0
    if settings.threads:  # of a run that is resumed, its own count (restore_arithmetic)
        use_threads(settings.threads)
    if settings.profile:
        with stop.importing():
            from training.profile import print_profile

        print_profile(settings, ScriptConsole())
        return 0
    if settings.resume:
        settings, folder = resumed(settings.resume, lambda default: parse(Settings, default=default))
        if said := what_was_finished(folder, settings.passes):
            print(said)
            return 0
        restore_arithmetic(folder)
    else:
        folder = new_run_folder(settings.run_dir, settings.network, settings.seed)

    try:
        return _train(settings, folder, stop)
    finally:
        folder.remove_if_unused()


def _train(settings: Settings, folder: RunFolder, stop: StopRequest) -> int:
    with stop.importing():
        from data.load import load_data
        from training.callbacks.figures import Figures
        from training.callbacks.live import displays
        from training.callbacks.trackers import Tracking
        from training.loop import train  # after the settings: a mistyped option is told before Paddle is imported

    outlive_readers(f"note: nobody reads the output any more; training goes on, see {one_line(folder.results)}")
    console = ScriptConsole()
    data = load_data(settings.data_dir, console)
    callbacks = [*displays(console, settings.live, folder.figures), Figures(folder, settings.figures, data)]
    callbacks += [Tracking(kind, folder, data.test_images, settings.log_every) for kind in settings.log_to]
    outcome = train(settings, folder, callbacks, stop, data)
    print(f"the run is in {one_line(outcome.run_dir)}/")
    return 0


if __name__ == "__main__":
    run(main)
