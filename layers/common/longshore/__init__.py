"""The Longshore library: a container lifecycle on Amazon ECS, with an exact history.

`domain` has the rules and the data, `aws` the calls to AWS, `engine` the operations, and `edge` HTTP and Lambda events.
`wiring` creates the objects of each function.
"""
