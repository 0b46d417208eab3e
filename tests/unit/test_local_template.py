"""Tests of the local stack's template reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from local import template

CONDITIONAL = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Mode: {Type: String, Default: b, AllowedValues: [a, b]}
  Names: {Type: CommaDelimitedList, Default: "x,y"}
  Size: {Type: Number, Default: 3, MinValue: 1, MaxValue: 9}
Conditions:
  IsA: !Equals [!Ref Mode, a]
  NotA: !Not [!Condition IsA]
  Both: !And [!Condition IsA, !Condition NotA]
  Either: !Or [!Condition IsA, !Condition NotA]
Resources:
  Gone: {Type: AWS::DynamoDB::Table, Condition: IsA, Properties: {}}
  Never: {Type: AWS::DynamoDB::Table, Condition: Both, Properties: {}}
  Kept:
    Type: AWS::DynamoDB::Table
    Condition: Either
    Properties:
      Joined: !Join ["-", !Ref Names]
      Sub: !Sub "${Mode}/${AWS::Region}/${Named.Arn}/${Named}/${!literal}"
      SubWith: !Sub ["${a}${Mode}", {a: !Ref Size}]
      Arn: !GetAtt Named.Arn
      Choice: !If [IsA, 1, 2]
      Absent: !If [IsA, 1, !Ref AWS::NoValue]
      List: [1, !If [IsA, 2, !Ref AWS::NoValue], 3]
      First: !Select [0, !Ref Names]
  Named: {Type: AWS::DynamoDB::Table, Properties: {TableName: given}}
"""


def load(tmp_path: Path, text: str, **parameters: str) -> template.Stack:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    return template.load(path, parameters)


RULES = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Mode: {Type: String, Default: a}
  Size: {Type: String, Default: ""}
Rules:
  Sized:
    RuleCondition: !Equals [!Ref Mode, b]
    Assertions:
      - {Assert: !Not [!Equals [!Ref Size, ""]], AssertDescription: Mode b requires Size.}
      - {Assert: !Equals [!Ref Size, "7"], AssertDescription: Size is 7.}
  Always:
    Assertions:
      - {Assert: !Or [!Equals [!Ref Mode, a], !Equals [!Ref Mode, b]], AssertDescription: Mode is a or b.}
Resources:
  Named: {Type: AWS::DynamoDB::Table, Properties: {TableName: given}}
"""


def test_rules(tmp_path: Path) -> None:
    load(tmp_path, RULES)
    load(tmp_path, RULES, Size="8")
    load(tmp_path, RULES, Mode="b", Size="7")
    for parameters, message in [
        ({"Mode": "b"}, r"^Mode b requires Size\.; Size is 7\.$"),
        ({"Mode": "b", "Size": "8"}, r"^Size is 7\.$"),
        ({"Mode": "c"}, r"^Mode is a or b\.$"),
    ]:
        with pytest.raises(template.TemplateError, match=message):
            load(tmp_path, RULES, **parameters)


def test_intrinsics_and_conditions(tmp_path: Path) -> None:
    stack = load(tmp_path, CONDITIONAL)
    arn = "arn:aws:dynamodb:us-east-1:123456789012:table/given"
    assert sorted(stack.tables) == ["Kept", "Named"]
    assert stack.tables["Kept"] == {
        "Joined": "x-y",
        "Sub": f"b/us-east-1/{arn}/given/${{literal}}",
        "SubWith": "3b",
        "Arn": arn,
        "Choice": 2,
        "List": [1, 3],
        "First": "x",
    }
    assert stack.physical_name("Kept") == "longshore-Kept"
    assert stack.physical_name("Named") == "given"
    assert "Gone" in load(tmp_path, CONDITIONAL, Mode="a").tables


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!ImportValue other", "Fn::ImportValue"),
        ("!FindInMap [a, b, c]", "Fn::FindInMap"),
        ("!GetAtt Named.Nothing", "Nothing"),
        ("!Ref Nothing", "Nothing"),
        ("!Ref Gone", "Gone.*IsA"),
        ("'{{resolve:ssm:x}}'", "dynamic reference"),
    ],
)
def test_an_unresolvable_value_is_named_in_the_error(tmp_path: Path, value: str, message: str) -> None:
    text = CONDITIONAL.replace('!Join ["-", !Ref Names]', value)
    with pytest.raises(template.TemplateError, match=f"Kept: .*{message}"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Mode": "c"}, "one of a, b"),
        ({"Size": "10"}, "range"),
        ({"Size": "x"}, "number"),
        ({"No": "1"}, "No"),
    ],
)
def test_parameters_are_checked(tmp_path: Path, parameters: Mapping[str, str], message: str) -> None:
    with pytest.raises(template.TemplateError, match=message):
        load(tmp_path, CONDITIONAL, **parameters)
