"""The verb that prints the schema of scenarios."""

import typer

from engine.command_line import verb

app = typer.Typer()


@verb(app, "schema", "specbranch schema > scenario.schema.json")
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from scenarios.json_schema import schema_text

    print(schema_text(), end="")
