// Last-word passages from a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/data/text_input.h"
#include "scute/evaluate/last_word.h"
#include "scute/text/tokenizer.h"

namespace scute {

/// One JSON object a line. {"text": …}: the context is the text up to its last space, the target
/// the rest, that space included; the ids are those of the whole text, and the target's number of
/// tokens is that of the whole text less that of the context alone. {"ids": […], "target": n}:
/// already tokenized. A .json may hold an array of them. Other members are ignored, and so are
/// empty lines. At most `most` items. Special tokens stand before a text and not behind it: it goes
/// on. Error naming file and line on anything else, on a text without a space or with nothing
/// behind it, on ids not in [0, vocabulary), and when there is no item. `tokenizer` may be null
/// when every line brings ids.
std::vector<LastWordItem> read_last_word_items(const std::string& file, const Tokenizer* tokenizer,
                                               int64_t vocabulary,
                                               std::optional<int64_t> most = std::nullopt,
                                               const TextInput& input = {},
                                               BadLines* bad = nullptr);

/// The item of one text; Error naming `where` as above.
LastWordItem last_word_item(const std::string& text, const Tokenizer& tokenizer,
                            const std::string& where);

}  // namespace scute
