"""The builder of the Lambda layer. It is not part of the layer."""
