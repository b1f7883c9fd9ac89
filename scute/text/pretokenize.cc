#include "scute/text/pretokenize.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>

#include "scute/base/error.h"
#include "scute/text/byte_alphabet.h"
#include "scute/text/expression.h"
#include "scute/text/json_member.h"
#include "scute/text/later_characters.h"
#include "scute/text/metaspace.h"
#include "scute/text/split.h"

namespace scute {
namespace {

/// Steps call each other; a real file has four.
constexpr size_t kMostSteps = 64;

/// GPT-2's expression, 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// with two changes that keep its meaning:
/// - \s, \p{L} and \p{N} hold what the library means by them (expression.h).
/// - Repeats that are never shortened say so (++), so that no word can exhaust the stack.
std::string word_expression() {
  const std::string letters = later_characters("L"), numbers = later_characters("N");
  return fmt::format(
      // Two sets in turn: one set of both costs a quarter of the speed.
      R"('s|'t|'re|'ve|'m|'ll|'d| ?(?:\p{{L}}++|[{0}]++)++| ?(?:\p{{N}}++|[{1}]++)++)"
      R"(| ?[^{2}\p{{L}}{0}\p{{N}}{1}]++|[{2}]+(?![^{2}])|[{2}]++)",
      letters, numbers, white_space_class());
}

struct ByteLevelStep {
  bool prefix_space;
  std::optional<WordSplitter> words;

  /// Calls word() for each word, in bytes.
  void split(std::string_view text, const std::function<void(std::string_view)>& word) const {
    std::string storage;
    if (prefix_space && !text.starts_with(' ')) {
      storage.reserve(text.size() + 1);
      storage += ' ';
      storage += text;
      text = storage;
    }
    if (words) return words->split(text, word);
    if (!text.empty()) word(text);
  }
};

ByteLevelStep byte_level_step(const Json& node, const std::string& at) {
  ByteLevelStep out{
      .prefix_space = node.at("add_prefix_space", at).as_bool(at + ".add_prefix_space"),
      .words = std::nullopt};
  if (flag(node, "use_regex", true, at)) out.words.emplace();
  return out;
}

MatchSplitter split_step(const Json& node, const std::string& at) {
  return {read_pattern(node.at("pattern", at), at + ".pattern"),
          parse_match_fate(node.at("behavior", at), at + ".behavior"),
          flag(node, "invert", false, at)};
}

MatchSplitter digits_step(const Json& node, const std::string& at) {
  const bool alone = node.at("individual_digits", at).as_bool(at + ".individual_digits");
  // Its digits are those of Rust, not those of its regular expressions.
  return {Pattern(fmt::format(R"([\p{{N}}{}{}])", later_characters("N"), later_numbers())),
          alone ? MatchFate::isolated : MatchFate::contiguous, false};
}

/// What the library takes for punctuation: Unicode 8's, and those signs of ASCII that Unicode calls
/// symbols.
std::string punctuation_expression() {
  return R"((?![\x{61d}\x{9fd}\x{a76}\x{c77}\x{c84}\x{1b7d}\x{1b7e}\x{2e43}-\x{2e4f})"
         R"(\x{2e52}-\x{2e5d}\x{10ead}\x{10f55}-\x{10f59}\x{10f86}-\x{10f89})"
         R"(\x{1144b}-\x{1144f}\x{1145a}\x{1145b}\x{1145d}\x{11660}-\x{1166c}\x{116b9}\x{1183b})"
         R"(\x{11944}-\x{11946}\x{119e2}\x{11a3f}-\x{11a46}\x{11a9a}-\x{11a9c}\x{11a9e}-\x{11aa2})"
         R"(\x{11c41}-\x{11c45}\x{11c70}\x{11c71}\x{11ef7}\x{11ef8}\x{11fff}\x{12ff1}\x{12ff2})"
         R"(\x{16e97}-\x{16e9a}\x{16fe2}\x{1e95e}\x{1e95f})" +
         later_characters("P") + R"(])[\p{P}$+<=>^`|~\x{166d}\x{111c9}])";
}

MatchSplitter punctuation_step(const Json& node, const std::string& at) {
  const Json* behavior = present(node, "behavior");
  return {Pattern(punctuation_expression()),
          behavior == nullptr ? MatchFate::isolated : parse_match_fate(*behavior, at + ".behavior"),
          false};
}

}  // namespace

WordSplitter::WordSplitter() : pattern_(word_expression()) {}

void WordSplitter::split(std::string_view text,
                         const std::function<void(std::string_view word)>& word) const {
  Pattern::Search search(pattern_);
  for (size_t at = 0; at < text.size();) {
    const size_t length = search.length_at(text, at).value_or(0);
    // Every character is a letter, a digit, white space or something else, so there is a match.
    if (length == 0) fail("text", "a word at every byte", "none at byte " + std::to_string(at));
    word(text.substr(at, length));
    at += length;
  }
}

struct PreTokenizer::Step {
  std::variant<ByteLevelStep, MatchSplitter, Metaspace> how;
};

PreTokenizer::PreTokenizer(const Json* node, const std::string& at) {
  if (node != nullptr) add(*node, at);
}
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

void PreTokenizer::add(const Json& node, const std::string& at) {
  const std::string& type = node.at("type", at).as_string(at + ".type");
  if (type == "Sequence") {
    size_t index = 0;
    for (const Json& part : node.at("pretokenizers", at).as_array(at + ".pretokenizers")) {
      add(part, fmt::format("{}[{}]", at, index++));
    }
    return;
  }
  if (steps_.size() == kMostSteps) {
    fail(at, fmt::format("at most {} pre-tokenizers", kMostSteps), "more");
  }
  if (type == "ByteLevel") {
    steps_.push_back({byte_level_step(node, at)});
  } else if (type == "Split") {
    steps_.push_back({split_step(node, at)});
  } else if (type == "Digits") {
    steps_.push_back({digits_step(node, at)});
  } else if (type == "Punctuation") {
    steps_.push_back({punctuation_step(node, at)});
  } else if (type == "Metaspace") {
    steps_.push_back({Metaspace::parse(node, at)});
  } else {
    fail(at, "ByteLevel, Split, Digits, Punctuation, Metaspace or a Sequence of them", type);
  }
}

void PreTokenizer::run(size_t step, std::string_view text, bool at_start, const Word& word) const {
  if (text.empty()) return;
  if (step == steps_.size()) return word(text, Unit::characters);
  const auto& how = steps_[step].how;
  if (const auto* bytes = std::get_if<ByteLevelStep>(&how)) {
    if (step + 1 == steps_.size()) {
      return bytes->split(text, [&](std::string_view part) { word(part, Unit::bytes); });
    }
    bool first = at_start;
    bytes->split(text, [&](std::string_view part) {
      run(step + 1, token_of_bytes(part), std::exchange(first, false), word);
    });
  } else if (const auto* spaces = std::get_if<Metaspace>(&how)) {
    spaces->split(text, at_start, [&](std::string_view part, bool part_at_start) {
      run(step + 1, part, part_at_start, word);
    });
  } else {
    std::get<MatchSplitter>(how).split(text, [&](size_t begin, size_t end) {
      run(step + 1, text.substr(begin, end - begin), at_start && begin == 0, word);
    });
  }
}

void PreTokenizer::split(std::string_view text, bool at_start, const Word& word) const {
  run(0, text, at_start, word);
}

}  // namespace scute
