"""What the networks are computed from: MNIST and its formats, splits, orders, distortions, and pictures made alike."""
