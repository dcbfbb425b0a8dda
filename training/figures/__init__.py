"""Pictures of one run and of many: curves, answers, and what the network is and sees; `python -m training.figures RUN`.

What draws returns a matplotlib Figure; `style.save` writes it. What a run's folder gets is told in docs/figures.md.
"""
