"""The folders that runs leave behind: logs, predictions, comparisons, figures; without Paddle."""
