"""Clients for DynamoDB, ECS and Systems Manager: the only code that calls AWS."""
