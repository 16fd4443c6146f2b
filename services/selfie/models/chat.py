"""The one place where chats become token ids.

Generation, scoring and training must see the same tokens: what a policy is judged on has to be
what it sampled. So a prompt is rendered with the policy's own template, tokenised and cut once,
here, and a response is tokenised by itself and ends with the end-of-turn token once.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfie.errors import InvalidInput

Chat = Sequence[Mapping[str, str]]

# Rendered once to see what a template does; no template changes or trims such a word.
_QUESTION, _ANSWER = "Question", "Answer"
_TEMPLATE_FIELD = "model"


def ids_digest(ids: Sequence[int]) -> str:
    """SHA-256 of token ids, each as four bytes, little-endian."""
    return hashlib.sha256(b"".join(token.to_bytes(4, "little") for token in ids)).hexdigest()


def vocabulary(directory: Path) -> dict[str, int]:
    """Every token of the checkpoint's tokenizer with its id; `InvalidInput` if it has no fast one."""
    return {token: int(index) for token, index in _load(directory).get_vocab().items()}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenised prompt: what every model reads before the response.

    ``ids`` end where the response begins; ``truncated`` says that tokens on the left were cut.
    """

    ids: tuple[int, ...]
    truncated: bool

    @property
    def digest(self) -> str:
        """`ids_digest` of the ids."""
        return ids_digest(self.ids)


class ChatTokenizer:
    """Tokenizer and chat template of one checkpoint directory; may be used from many threads.

    Attributes:
        end_of_turn_id: the token that the template puts after an answer.
        end_of_turn_ids: every token that ends a sampled response: the above, and the
            end-of-sequence tokens of the generation config.
        pad_id: a token to fill batches with; its positions must be masked, it may end turns too.
        template_digest: SHA-256 of the template's text.
        tokenizer_digest: SHA-256 of what maps text to ids (vocabulary, merges, normaliser, …).
    """

    def __init__(self, directory: Path) -> None:
        """Reads the tokenizer in ``directory``; needs no weights and no network.

        Raises `InvalidInput` when there is no fast tokenizer, no template, a template that does
        not lead to the answer, or no token that ends a turn.
        """
        self._tokenizer = _load(directory)
        self.template = _template(self._tokenizer)
        # Two views of one tokenizer: in rendered chats control tokens are tokens, in the text of
        # a response they are the characters that they are written with.
        self._rendered = _plain_backend(self._tokenizer)
        self._literal = _plain_backend(self._tokenizer)
        self._literal.encode_special_tokens = True
        self._special = _special_ids(self._tokenizer)
        self._check_generation_prompt()
        stop_ids = _stop_ids(directory, self._tokenizer)
        self.end_of_turn_id: int = self._find_end_of_turn(stop_ids)
        self.end_of_turn_ids: frozenset[int] = frozenset({self.end_of_turn_id, *stop_ids})
        pad_id = self._tokenizer.pad_token_id
        self.pad_id: int = self.end_of_turn_id if pad_id is None else int(pad_id)
        self.template_digest: str = hashlib.sha256(self.template.encode()).hexdigest()
        self.tokenizer_digest: str = _backend_digest(self._rendered)
        self._control_texts = self._find_control_texts()

    def prompt_text(self, messages: Chat, *, field: str = "messages") -> str:
        """The chat as the model reads it, up to where its answer begins.

        ``field`` names the row in errors: `InvalidInput` when the template refuses the chat (for
        example a system message) or a message contains one of the template's control tokens.
        """
        for index, message in enumerate(messages):
            self._check_content(message.get("content", ""), f"{field}[{index}].content")
        return self._render(messages, add_generation_prompt=True, field=field)

    def prompt_ids(
        self, messages: Chat, *, max_prompt_tokens: int | None = None, field: str = "messages"
    ) -> Prompt:
        """Token ids of `prompt_text`; of a longer prompt the last ``max_prompt_tokens`` are kept.

        No token is added to what the template writes, so that a beginning-of-sequence token in
        the template is never doubled.
        """
        ids = self.text_ids(self.prompt_text(messages, field=field))
        if max_prompt_tokens is None or len(ids) <= max_prompt_tokens:
            return Prompt(ids, truncated=False)
        return Prompt(ids[-max_prompt_tokens:], truncated=True)

    def text_ids(self, rendered: str) -> tuple[int, ...]:
        """Token ids of an already rendered chat, as an engine that takes text has to find them."""
        return tuple(self._rendered.encode(rendered, add_special_tokens=False).ids)

    def engine_text(self, ids: Sequence[int]) -> str | None:
        """The text that an engine has to be given to read these prompt ids; None if there is none.

        Such an engine adds the tokenizer's own special tokens, so that a beginning-of-sequence
        token which the template has written must not be in the text as well.
        """
        added = tuple(self._rendered.encode("", add_special_tokens=True).ids)
        for start in dict.fromkeys((len(added) if tuple(ids[: len(added)]) == added else 0, 0)):
            text = self.decode_prompt(ids[start:])
            if tuple(self._rendered.encode(text, add_special_tokens=True).ids) == tuple(ids):
                return text
        return None

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a finished response: those of ``text``, then `end_of_turn_id`, nothing after.

        They don't depend on the prompt. Control tokens written out in ``text`` are taken as
        characters: a text can't end its own turn.
        """
        return (*self._literal.encode(text, add_special_tokens=False).ids, self.end_of_turn_id)

    def decode_response(self, ids: Sequence[int]) -> str:
        """Text of a response, without its end-of-turn token and other special tokens."""
        content = ids[:-1] if self.is_finished(ids) else ids
        return str(self._rendered.decode(list(content), skip_special_tokens=True))

    def decode_prompt(self, ids: Sequence[int]) -> str:
        """Text of prompt ids with its control tokens written out."""
        return str(self._rendered.decode(list(ids), skip_special_tokens=False))

    def is_finished(self, response_ids: Sequence[int]) -> bool:
        """Whether a response ends with an end-of-turn token, rather than by its length."""
        return len(response_ids) > 0 and response_ids[-1] in self.end_of_turn_ids

    def _render(self, messages: Chat, *, add_generation_prompt: bool, field: str) -> str:
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        except TemplateError as error:
            remedy = "use roles and an order of turns that the model was trained with"
            raise InvalidInput(field, f"the model's chat template refuses it: {error}", remedy) from error
        return str(text)

    def _check_content(self, content: str, field: str) -> None:
        for token in self._control_texts:
            if token in content:
                remedy = "remove it, because the model would take it for the end or begin of a turn"
                raise InvalidInput(field, f"contains the control token {token}", remedy)

    def _probe(self, *, answered: bool, add_generation_prompt: bool) -> str:
        chat = [{"role": "user", "content": _QUESTION}]
        if answered:
            chat.append({"role": "assistant", "content": _ANSWER})
        return self._render(chat, add_generation_prompt=add_generation_prompt, field=_TEMPLATE_FIELD)

    def _check_generation_prompt(self) -> None:
        prompt = self._probe(answered=False, add_generation_prompt=True)
        if prompt != self._probe(answered=False, add_generation_prompt=False):
            return
        # Templates such as [INST] … [/INST] need no generation prompt: the answer follows at once.
        full = self._probe(answered=True, add_generation_prompt=False)
        if full.startswith(prompt) and full[len(prompt) :].lstrip().startswith(_ANSWER):
            return
        problem = (
            "its chat template ignores add_generation_prompt, so prompts would end before the answer's place"
        )
        raise InvalidInput(_TEMPLATE_FIELD, problem, "use a checkpoint whose template honours it")

    def _find_end_of_turn(self, stop_ids: tuple[int, ...]) -> int:
        tail = self._probe(answered=True, add_generation_prompt=False).rpartition(_ANSWER)[2]
        for token in self.text_ids(tail):
            if token in self._special:
                return token
        if stop_ids:
            return stop_ids[0]
        problem = "neither its chat template nor its generation config has a token that ends an answer"
        raise InvalidInput(_TEMPLATE_FIELD, problem, "set eos_token_id in generation_config.json")

    def _find_control_texts(self) -> tuple[str, ...]:
        rendered = self.text_ids(self._probe(answered=True, add_generation_prompt=True))
        control = (self._special & set(rendered)) | self.end_of_turn_ids
        return tuple(str(self._tokenizer.convert_ids_to_tokens(token)) for token in sorted(control))


# transformers' tokenizers have no useful static type: what is used of them is this module's secret.
def _load(directory: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    if not (directory / "tokenizer.json").is_file():
        remedy = "save it with a fast tokenizer (AutoTokenizer … save_pretrained)"
        raise InvalidInput(_TEMPLATE_FIELD, f"{directory} has no tokenizer.json", remedy)
    # Not AutoTokenizer, which may build another tokenizer than tokenizer.json has, the one that
    # engines read, and which takes torch with it.
    return PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)


def _template(tokenizer: Any) -> str:
    if not tokenizer.chat_template:
        remedy = "use an instruction-tuned checkpoint, or add chat_template to tokenizer_config.json"
        raise InvalidInput(_TEMPLATE_FIELD, "its tokenizer has no chat template", remedy)
    return str(tokenizer.get_chat_template())


def _plain_backend(tokenizer: Any) -> Any:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _backend_digest(backend: Any) -> str:
    canonical = json.dumps(json.loads(backend.to_str()), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _special_ids(tokenizer: Any) -> frozenset[int]:
    added = tokenizer.added_tokens_decoder
    return frozenset(token for token, content in added.items() if content.special) | frozenset(
        tokenizer.all_special_ids
    )


def _stop_ids(directory: Path, tokenizer: Any) -> tuple[int, ...]:
    path = directory / "generation_config.json"
    declared = json.loads(path.read_text()).get("eos_token_id") if path.is_file() else None
    if declared in (None, []):
        declared = tokenizer.eos_token_id
    if declared is None:
        return ()
    return tuple(declared) if isinstance(declared, list) else (int(declared),)
