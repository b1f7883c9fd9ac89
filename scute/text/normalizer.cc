#include "scute/text/normalizer.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <variant>

#include "scute/base/error.h"
#include "scute/text/normalize.h"
#include "scute/text/pattern.h"
#include "scute/text/split.h"

namespace scute {
namespace {

struct Nfc {};

struct Prepend {
  std::string sign;
};

struct Replace {
  std::optional<Pattern> pattern;  ///< empty: matches nothing
  std::string content;

  std::string apply(std::string_view text) const {
    std::string out;
    size_t done = 0;
    for_each_match(*pattern, text, [&](Pattern::Search::Match found) {
      out += text.substr(done, found.begin - done);
      out += content;
      done = found.end;
    });
    return out += text.substr(done);
  }
};

}  // namespace

struct Normalizer::Step {
  std::variant<Nfc, Prepend, Replace> how;
};

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
  } else if (type == "NFC") {
    steps_.push_back({Nfc{}});
  } else if (type == "Prepend") {
    steps_.push_back({Prepend{node.at("prepend", at).as_string(at + ".prepend")}});
  } else if (type == "Replace") {
    steps_.push_back({Replace{read_pattern(node.at("pattern", at), at + ".pattern"),
                              node.at("content", at).as_string(at + ".content")}});
  } else {
    fail(at, "NFC, Prepend, Replace or a Sequence of them", type);
  }
}

std::string_view Normalizer::apply(std::string_view text, std::string& storage) const {
  std::string next;
  for (const Step& step : steps_) {
    if (const auto* prepend = std::get_if<Prepend>(&step.how)) {
      if (text.empty()) continue;
      next = prepend->sign;
      next += text;
    } else if (const auto* replace = std::get_if<Replace>(&step.how)) {
      if (!replace->pattern) continue;
      next = replace->apply(text);
    } else {
      const std::string_view normal = nfc(text, next);
      if (normal.data() == text.data()) continue;
    }
    // `text` may lie in `storage`, so what was made of it is finished before they change places.
    std::swap(storage, next);
    text = storage;
  }
  return text;
}

}  // namespace scute
