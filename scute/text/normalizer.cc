#include "scute/text/normalizer.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <variant>

#include "scute/base/error.h"
#include "scute/text/normalize.h"
#include "scute/text/pattern.h"
#include "scute/text/split.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

/// White space taken off a text.
struct StripSpace {
  bool left, right;

  std::string_view apply(std::string_view text) const {
    while (left && !text.empty()) {
      const CodePoint first = read_code_point(text, 0);
      if (!is_white_space(first.value)) break;
      text.remove_prefix(first.bytes);
    }
    while (right && !text.empty()) {
      const CodePoint last = read_code_point_before(text, text.size());
      if (!is_white_space(last.value)) break;
      text.remove_suffix(last.bytes);
    }
    return text;
  }
};

struct SmallLetters {
  std::string apply(std::string_view text) const {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const CodePoint next = read_code_point(text, at);
      append_small_letters(next.value, out);
      at += next.bytes;
    }
    return out;
  }
};

struct Prepend {
  std::string sign;
};

struct Replace {
  std::optional<Pattern> pattern;  ///< empty: matches nothing
  std::string content;

  /// `from_start`: made false when what the text began with has become nothing.
  std::string apply(std::string_view text, bool& from_start) const {
    std::string out;
    size_t done = 0;
    for_each_match(*pattern, text, [&](Pattern::Search::Match found) {
      out += text.substr(done, found.begin - done);
      out += content;
      if (found.begin == 0 && found.end > 0 && content.empty()) from_start = false;
      done = found.end;
    });
    return out += text.substr(done);
  }
};

}  // namespace

struct Normalizer::Step {
  std::variant<NormalForm, Prepend, Replace, SmallLetters, StripSpace> how;
};

namespace {

std::optional<NormalForm> form_named(std::string_view name) {
  if (name == "NFC") return NormalForm::nfc;
  if (name == "NFD") return NormalForm::nfd;
  if (name == "NFKC") return NormalForm::nfkc;
  if (name == "NFKD") return NormalForm::nfkd;
  return std::nullopt;
}

}  // namespace

Normalizer::Normalizer(const Json* node, const std::string& at) {
  if (node != nullptr) add(*node, at);
}
Normalizer::Normalizer(Normalizer&&) noexcept = default;
Normalizer& Normalizer::operator=(Normalizer&&) noexcept = default;
Normalizer::~Normalizer() = default;

void Normalizer::add(const Json& node, const std::string& at) {
  const std::string& type = node.at("type", at).as_string(at + ".type");
  if (type == "Sequence") {
    size_t index = 0;
    for (const Json& part : node.at("normalizers", at).as_array(at + ".normalizers")) {
      add(part, fmt::format("{}[{}]", at, index++));
    }
  } else if (const auto form = form_named(type)) {
    steps_.emplace_back().how = *form;
  } else if (type == "Lowercase") {
    steps_.emplace_back().how = SmallLetters{};
  } else if (type == "Strip") {
    steps_.emplace_back().how = StripSpace{node.at("strip_left", at).as_bool(at + ".strip_left"),
                                           node.at("strip_right", at).as_bool(at + ".strip_right")};
  } else if (type == "Prepend") {
    steps_.emplace_back().how = Prepend{node.at("prepend", at).as_string(at + ".prepend")};
  } else if (type == "Replace") {
    steps_.emplace_back().how = Replace{read_pattern(node.at("pattern", at), at + ".pattern"),
                                        node.at("content", at).as_string(at + ".content")};
  } else {
    fail(at, "NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace or a Sequence of them",
         type);
  }
}

NormalText Normalizer::apply(std::string_view text, std::string& storage) const {
  std::string next;
  bool from_start = true;
  for (const Step& step : steps_) {
    if (const auto* prepend = std::get_if<Prepend>(&step.how)) {
      if (text.empty()) continue;
      next = prepend->sign;
      next += text;
    } else if (const auto* replace = std::get_if<Replace>(&step.how)) {
      if (!replace->pattern) continue;
      next = replace->apply(text, from_start);
    } else if (const auto* strip = std::get_if<StripSpace>(&step.how)) {
      const char* begin = text.data();
      text = strip->apply(text);  // a part of what it was, wherever that lies
      from_start = from_start && text.data() == begin;
      continue;
    } else if (const auto* small = std::get_if<SmallLetters>(&step.how)) {
      next = small->apply(text);
    } else {
      const std::string_view normal = normal_form(text, std::get<NormalForm>(step.how), next);
      if (normal.data() == text.data()) continue;
    }
    // `text` may lie in `storage`, so what was made of it is finished before they change places.
    std::swap(storage, next);
    text = storage;
  }
  return {text, from_start};
}

}  // namespace scute
