"""The API's reference: `openapi.yaml` and `docs/errors.md`, made of the code that answers and of the texts here.

What the code knows (models, codes, messages, statuses) is read from it. `errors.yaml` and `texts.yaml` hold only what a
caller has to be told besides.
"""
