"""``python -m selfie_operator``: looks after runs until SIGTERM."""

from pydantic_settings import CliApp

from selfie_operator.process import run
from selfie_operator.reconciling import build
from selfie_operator.settings import OperatorSettings


def main() -> None:
    """Reads the settings and runs."""
    run(CliApp.run(OperatorSettings), build)


if __name__ == "__main__":
    main()
