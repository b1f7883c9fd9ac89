// A tokenizer.json as a GGUF file's keys.
#pragma once

#include <string>
#include <vector>

#include "scute/io/gguf_writer.h"
#include "scute/language/model_folder.h"

namespace scute {

struct GgufTokenizer {
  GgufKeys keys;                     ///< tokenizer.…
  std::vector<std::string> remarks;  ///< where a reader of the file makes other ids, or none
};

/// Tokens of every row of the table (rows without one get "[PAD…]"), merges or scores, special ids.
/// Byte-level BPE is "gpt2" with the name of its rule for cutting words ("default" where it has
/// none), BPE with byte_fallback "llama"; without a tokenizer, or of another kind, "no_vocab".
/// Error for a tokenizer.json that scute does not read either.
GgufTokenizer gguf_tokenizer(const ModelDescription& model);

/// The format's name for a pre_tokenizer; "" when it has none.
std::string gguf_pre_tokenizer(const Json& pre_tokenizer, bool ignore_merges);

}  // namespace scute
