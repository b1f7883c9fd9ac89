#include "scute/text/special_tokens.h"

#include <fmt/format.h>

#include <utility>

#include "scute/base/error.h"

namespace scute {
namespace {

/// The ids of a template's special token.
std::vector<int32_t> ids_of_special(const Json& known, const Json& part, const std::string& at) {
  const std::string& name = part.at("id", at).as_string(at + ".id");
  const std::string here = at + ".special_tokens." + name;
  std::vector<int32_t> out;
  for (const Json& id : known.at(name, at + ".special_tokens").at("ids", here).as_array(here)) {
    const int64_t value = id.as_int(here);
    if (value < 0 || !std::in_range<int32_t>(value)) {
      fail(here, "ids from 0 to 2147483647", id.dump());
    }
    out.push_back(static_cast<int32_t>(value));
  }
  return out;
}

/// The tokens of one template.
void read_template(SpecialTokens& tokens, const Json& node, const std::string& at) {
  const Json& parts = node.at("single", at);
  SpecialTokens added;
  int texts = 0;
  for (const Json& part : parts.as_array(at + ".single")) {
    if (const Json* text = part.find("Sequence")) {
      const std::string& id = text->at("id", at).as_string(at + ".single");
      if (id != "A" || ++texts > 1) fail(at + ".single", "the text A once", "another text");
      continue;
    }
    const auto ids =
        ids_of_special(node.at("special_tokens", at), part.at("SpecialToken", at + ".single"), at);
    auto& side = texts == 0 ? added.before : added.after;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (texts == 0) fail(at + ".single", "the text A once", "none");
  // Of several templates the library applies the later to the parts of the earlier.
  const bool first = tokens.before.empty() && tokens.after.empty();
  if (!first) fail(at, "one template that adds tokens", "two");
  tokens = std::move(added);
}

void add_processor(SpecialTokens& tokens, const Json& node, const std::string& at) {
  const std::string& type = node.at("type", at).as_string(at + ".type");
  if (type == "Sequence") {
    size_t index = 0;
    for (const Json& part : node.at("processors", at).as_array(at + ".processors")) {
      add_processor(tokens, part, fmt::format("{}[{}]", at, index++));
    }
  } else if (type == "TemplateProcessing") {
    read_template(tokens, node, at);
  } else if (type != "ByteLevel") {
    fail(at, "ByteLevel, TemplateProcessing or a Sequence of them", type);
  }
}

}  // namespace

SpecialTokens SpecialTokens::parse(const Json* node, const std::string& at) {
  SpecialTokens out;
  if (node != nullptr) add_processor(out, *node, at);
  return out;
}

}  // namespace scute
