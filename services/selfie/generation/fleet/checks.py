"""Every distinct prompt is held against the engine's tokenizer once, for each set of weights."""

from collections import OrderedDict

from selfie.generation.fleet.servers import Server, Wanted

# At 100 bytes each; a prompt that has fallen out is checked again.
_REMEMBERED = 100_000


class PromptChecks:
    """The prompts that were found to be read as their ids say, the latest of them."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._sound: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._remembered = remembered

    async def check(self, server: Server, wanted: Wanted) -> None:
        """Asks the server, unless it is known; raises what `Server.check_prompt` raises."""
        name = (wanted.policy.weights_digest, wanted.key)
        if name in self._sound:
            self._sound.move_to_end(name)
            return
        await server.check_prompt(wanted)
        self._sound[name] = None
        if len(self._sound) > self._remembered:
            self._sound.popitem(last=False)
