"""The operators of a training step, each in a stock form and, on a CPU, a fused one.

Beside convolution and pooling, the stock operators of a step of `conv_pool_bn` at batch 128 take longer than their
arithmetic: each costs Paddle's executor some ten microseconds, and none uses a second thread. Together they were a
third of the step (2 cores, AMD EPYC, Paddle 3.3.1).
"""
