// Which of the format's rules for cutting words a pre_tokenizer is.
#include <array>
#include <string_view>

#include "scute/language/gguf/tokenizer.h"

namespace scute {
namespace {

struct KnownSplit {
  std::string_view expression;
  bool ignore_merges;
  std::string_view name;
};
// The format's names imply whether a word that is a token is merged at all.
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// The same pieces in other words: possessive, and one line break after blanks that take the rest.
constexpr std::string_view kCl100k =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::array kGgufSplits{
    KnownSplit{kLlama3, true, "llama-bpe"}, KnownSplit{kLlama3, false, "dbrx"},
    KnownSplit{kCl100k, false, "dbrx"}, KnownSplit{kTekken, true, "tekken"},
    KnownSplit{kQwen2, false, "qwen2"}};

std::string gguf_word(const Json& object, const char* key) {
  const Json* found = object.is_object() ? object.find(key) : nullptr;
  return found != nullptr && found->is_string() ? found->as_string("") : "";
}
bool gguf_flag(const Json& object, const char* key, bool otherwise) {
  const Json* found = object.is_object() ? object.find(key) : nullptr;
  return found != nullptr && found->is_bool() ? found->as_bool("") : otherwise;
}

/// A sequence's members, or the one itself.
std::vector<Json> gguf_steps(const Json& node) {
  const Json* list = node.is_object() ? node.find("pretokenizers") : nullptr;
  if (list == nullptr || !list->is_array()) return {node};
  return list->as_array("");
}

std::string gguf_expression(const Json& split) {
  const Json* pattern = split.is_object() ? split.find("pattern") : nullptr;
  return pattern == nullptr ? "" : gguf_word(*pattern, "Regex");
}

/// The pieces are what the expression matches; the known ones match everything.
bool gguf_cuts(const Json& split) {
  const std::string behavior = gguf_word(split, "behavior");
  const bool invert = gguf_flag(split, "invert", false);
  return gguf_word(split, "type") == "Split" &&
         ((behavior == "Isolated" && !invert) || (behavior == "Removed" && invert));
}

}  // namespace

std::string gguf_pre_tokenizer(const Json& pre_tokenizer, bool ignore_merges) {
  const std::vector<Json> steps = gguf_steps(pre_tokenizer);
  const auto is = [&](size_t i, std::string_view type) {
    return gguf_word(steps[i], "type") == type;
  };
  const auto by_words = [&](size_t i) { return gguf_flag(steps[i], "use_regex", true); };
  if (steps.size() == 1 && is(0, "ByteLevel") && by_words(0) && !ignore_merges) return "gpt-2";
  if (steps.size() == 2 && gguf_cuts(steps[0]) && is(1, "ByteLevel") && !by_words(1)) {
    for (const KnownSplit& known : kGgufSplits) {
      if (gguf_expression(steps[0]) == known.expression && known.ignore_merges == ignore_merges) {
        return std::string(known.name);
      }
    }
  }
  if (steps.size() == 2 && is(0, "Digits") && gguf_flag(steps[0], "individual_digits", false) &&
      is(1, "ByteLevel") && by_words(1) && !ignore_merges) {
    return "starcoder";
  }
  // Readers of this name take up to three digits together, then merge: the same without a merge of
  // digits.
  if (steps.size() == 3 && gguf_cuts(steps[0]) && gguf_expression(steps[0]) == kLlama3 &&
      is(1, "Digits") && gguf_flag(steps[1], "individual_digits", false) && is(2, "ByteLevel") &&
      !by_words(2) && ignore_merges) {
    return "falcon-h1";
  }
  const bool falcon = steps.size() == 4 && is(0, "Punctuation") && is(1, "ByteLevel") &&
                      is(2, "Digits") && gguf_cuts(steps[3]) && !ignore_merges;
  if (falcon && gguf_expression(steps[3]) == "[0-9][0-9][0-9]") return "falcon";
  return "";
}

}  // namespace scute
