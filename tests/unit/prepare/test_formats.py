from selfie.publish.formats import published_config, published_generation_config, published_tokenizer_config

PLAIN = {"rope_type": "default", "rope_theta": 100000.0}


def test_plain_rope_is_written_at_the_top_too():
    found = published_config({"rope_parameters": PLAIN, "dtype": "float32", "hidden_size": 8})
    assert found == {
        "rope_parameters": PLAIN,
        "rope_theta": 100000.0,
        "rope_scaling": None,
        "dtype": "float32",
        "torch_dtype": "float32",
        "hidden_size": 8,
    }


def test_scaled_rope_keeps_its_scaling():
    rope = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5, "partial_rotary_factor": 0.5}
    found = published_config({"rope_parameters": rope})
    assert found["rope_scaling"] == {"rope_type": "llama3", "factor": 8.0}
    assert (found["rope_theta"], found["partial_rotary_factor"]) == (5e5, 0.5)
    assert found["rope_parameters"] == rope


def test_rope_by_kind_of_layer_becomes_two_frequencies():
    rope = {"full_attention": {**PLAIN, "rope_theta": 1e6}, "sliding_attention": {**PLAIN, "rope_theta": 1e4}}
    found = published_config({"rope_parameters": rope})
    assert (found["rope_theta"], found["rope_local_base_freq"], found["rope_scaling"]) == (1e6, 1e4, None)


def test_a_config_of_transformers_4_keeps_its_rope():
    old = {"rope_theta": 1e6, "rope_scaling": None, "torch_dtype": "bfloat16"}
    assert published_config(old) == {**old, "dtype": "bfloat16"}


def test_a_model_without_rope_gets_none():
    assert published_config({"n_positions": 1024}) == {"n_positions": 1024}


def test_the_tokenizers_class_is_one_that_old_readers_have():
    found = published_tokenizer_config(
        {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "is_local": True, "eos_token": "x"},
        "T",
    )
    assert found == {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "x", "chat_template": "T"}
    assert published_tokenizer_config({}, "T")["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (
        published_tokenizer_config({"tokenizer_class": "Qwen2Tokenizer"}, "T")["tokenizer_class"]
        == "Qwen2Tokenizer"
    )


def test_further_special_tokens_are_named_as_old_readers_expect():
    found = published_tokenizer_config({"extra_special_tokens": ["<a>"]}, "T")
    assert found["additional_special_tokens"] == ["<a>"]
    assert "extra_special_tokens" not in found
    assert published_tokenizer_config({"extra_special_tokens": {"a": "<a>"}}, "T")[
        "extra_special_tokens"
    ] == {"a": "<a>"}


def test_end_tokens_become_a_list_and_sampling_stays_with_the_request():
    found = published_generation_config(
        {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": None, "temperature": 0.6, "top_k": 20},
        (2, 5),
        0,
    )
    assert found == {"eos_token_id": [2, 5], "bos_token_id": 1, "pad_token_id": 0}
