"""The node ``rollout_server`` of a server that somebody else runs.

The annotations are no text (``from __future__``): OmegaConf would compile each of them again
whenever it makes a node.
"""

from dataclasses import dataclass
from typing import Any


@dataclass
class ExternalSettings:
    """Where an API is that others run, and how to be let in: nothing is started.

    Any server with the OpenAI interface will do: a vLLM or SGLang of another launcher, a gateway,
    a provider.
    """

    url: Any = None
    """Base URL of the API, or a list of them: `http://node-1:8000` (the API is below `/v1`) or as
    clients take it, `https://api.example.com/v1`."""
    model: str | None = None
    """Name of the model in requests; unset: the one that the learner trains."""
    api_key_env: str | None = None
    """Variable with the API key, for example `OPENAI_API_KEY`; never the key itself."""
