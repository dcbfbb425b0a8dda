"""The C++ of the fused operators, and its compilation."""
