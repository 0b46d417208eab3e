"""The Longshore library: a container lifecycle on Amazon ECS, with an exact history.

`lifecycle` decides, `operations` orders the side effects, `store` keeps the state, `http` and `events` own the edges.
"""
