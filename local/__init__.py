"""The local stack: `template.yaml` served over HTTP without Docker, Java or an account."""
