"""A second model of the protocol, written in Promela from the rules of the design and checked by Spin.

`container.pml` describes the model. `python -m protocol` checks it, and then checks that Spin finds mistakes that are
planted in it. The package needs the Debian packages `spin` and `gcc`.
"""
