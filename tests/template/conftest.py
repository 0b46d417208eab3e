"""Assertion rewriting for the helpers of the template tests."""

import pytest

pytest.register_assert_rewrite("template.scene", "template.scenarios", "template.redeployment")
