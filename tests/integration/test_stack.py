"""Tests of the complete local stack: what it creates from a template, and that it cleans up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest
from small_api import TEMPLATE

from local import template, tokens
from local.provision import ProvisionError, provision
from local.stack import LocalStack

RESOURCES = """
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      DeletionProtectionEnabled: true
      AttributeDefinitions:
        - {AttributeName: id, AttributeType: S}
        - {AttributeName: at, AttributeType: N}
        - {AttributeName: kind, AttributeType: S}
      KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: at, KeyType: RANGE}]
      LocalSecondaryIndexes:
        - IndexName: local
          KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: kind, KeyType: RANGE}]
          Projection: {ProjectionType: ALL}
      GlobalSecondaryIndexes:
        - IndexName: global
          KeySchema: [{AttributeName: kind, KeyType: HASH}]
          Projection: {ProjectionType: KEYS_ONLY}
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
  Secret: {Type: AWS::SecretsManager::Secret, Properties: {GenerateSecretString: {}}}
  Document:
    Type: AWS::SSM::Document
    Properties: {DocumentType: Command, Content: {schemaVersion: "2.2", mainSteps: []}}
"""

HANDLER = """
import os
import boto3

def handler(event, context):
    name = boto3.client("dynamodb").list_tables()["TableNames"][0]
    return {"statusCode": 200, "body": name + " " + os.environ["AWS_ACCESS_KEY_ID"]}
"""


@pytest.fixture
def complete_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The stack removes these variables while it runs, and restores them afterwards.
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://192.0.2.1")
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE + RESOURCES)
    for name in ("echo", "auth"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(HANDLER)
    return path


def test_a_stack_starts_serves_and_cleans_up(complete_template: Path) -> None:
    before = dict(os.environ)
    for _ in range(2):
        with LocalStack(port=0, seed=False, template_path=complete_template) as stack:
            answer = httpx.get(f"{stack.url}/open", trust_env=False)
            assert answer.text == f"longshore-Table {stack.credentials.access_key_id}"
            assert stack.invoke("EchoFunction", {})["statusCode"] == 200
            assert stack.table_name("Table") == "longshore-Table"
            assert "AWS_PROFILE" not in os.environ
        assert dict(os.environ) == before


def test_resources_are_created_from_the_template_and_kept(complete_template: Path) -> None:
    with LocalStack(port=0, seed=False, template_path=complete_template) as stack:
        dynamodb = stack.client("dynamodb")
        table = dynamodb.describe_table(TableName="longshore-Table")["Table"]
        assert [index["IndexName"] for index in table["LocalSecondaryIndexes"]] == ["local"]
        assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["global"]
        assert not table["DeletionProtectionEnabled"]
        ttl = dynamodb.describe_time_to_live(TableName="longshore-Table")["TimeToLiveDescription"]
        assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
        secret = stack.client("secretsmanager").get_secret_value(
            SecretId="arn:aws:secretsmanager:us-east-1:123456789012:secret:longshore-Secret"
        )
        assert secret["SecretString"] == tokens.key()
        document = stack.client("ssm").get_document(Name="longshore-Document")
        assert json.loads(document["Content"]) == {"schemaVersion": "2.2", "mainSteps": []}

        clients = {
            name: stack.client(name)
            for name in ("dynamodb", "secretsmanager", "ssm", "ecs", "events", "scheduler", "sqs")
        }
        dynamodb.put_item(TableName="longshore-Table", Item={"id": {"S": "a"}, "at": {"N": "1"}})
        provision(template.load(complete_template), token_key="another", **clients)
        assert dynamodb.scan(TableName="longshore-Table")["Count"] == 1
        # An older table has no stream.
        assert "LatestStreamArn" not in table
        ttl_of_table = "      TimeToLiveSpecification:"
        with_stream = f"      StreamSpecification: {{StreamViewType: NEW_IMAGE}}\n{ttl_of_table}"
        complete_template.write_text(complete_template.read_text().replace(ttl_of_table, with_stream))
        for _ in range(2):
            provision(template.load(complete_template), token_key="another", **clients)
            assert dynamodb.describe_table(TableName="longshore-Table")["Table"]["LatestStreamArn"]
        complete_template.write_text(complete_template.read_text().replace("IndexName: global", "IndexName: renamed"))
        with pytest.raises(ProvisionError, match="longshore-Table"):
            provision(template.load(complete_template), token_key="another", **clients)
