#include "scute/text/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <variant>

#include "scute/base/error.h"
#include "scute/text/byte_alphabet.h"
#include "scute/text/metaspace.h"

namespace scute {
namespace {

struct DecodeByteLevel {};
struct DecodeBytes {};  ///< "<0x0A>" becomes that byte
struct DecodeFuse {};
struct DecodeReplace {
  std::string from, to;
};
struct DecodeStrip {
  std::string sign;
  int64_t start, stop;  ///< at most so many of a token's beginning and end
};

std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

std::string stripped(std::string token, const DecodeStrip& how, bool keep_start) {
  for (int64_t i = 0; !keep_start && i < how.start && token.starts_with(how.sign); ++i) {
    token.erase(0, how.sign.size());
  }
  for (int64_t i = 0; i < how.stop && token.ends_with(how.sign); ++i) {
    token.resize(token.size() - how.sign.size());
  }
  return token;
}

std::string joined_text(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

DecodeReplace read_replace(const Json& node, const std::string& at) {
  const Json& from = node.at("pattern", at).at("String", at + ".pattern");
  return {from.as_string(at + ".pattern"), node.at("content", at).as_string(at + ".content")};
}

DecodeStrip read_strip(const Json& node, const std::string& at) {
  DecodeStrip out{node.at("content", at).as_string(at + ".content"),
                  node.at("start", at).as_int(at + ".start"),
                  node.at("stop", at).as_int(at + ".stop")};
  if (out.sign.empty()) fail(at + ".content", "one character", "none");
  return out;
}

}  // namespace

struct Decoder::Step {
  std::variant<DecodeByteLevel, DecodeBytes, DecodeFuse, DecodeReplace, DecodeStrip, Metaspace> how;
};

Decoder::Decoder(const Json* node, const std::string& at) {
  if (node != nullptr) add(*node, at);
}
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

void Decoder::add(const Json& node, const std::string& at) {
  const std::string& type = node.at("type", at).as_string(at + ".type");
  if (type == "Sequence") {
    size_t index = 0;
    for (const Json& part : node.at("decoders", at).as_array(at + ".decoders")) {
      add(part, fmt::format("{}[{}]", at, index++));
    }
  } else if (type == "ByteLevel") {
    steps_.push_back({DecodeByteLevel{}});
  } else if (type == "ByteFallback") {
    steps_.push_back({DecodeBytes{}});
  } else if (type == "Fuse") {
    steps_.push_back({DecodeFuse{}});
  } else if (type == "Replace") {
    steps_.push_back({read_replace(node, at)});
  } else if (type == "Strip") {
    steps_.push_back({read_strip(node, at)});
  } else if (type == "Metaspace") {
    steps_.push_back({Metaspace::parse(node, at)});
  } else {
    fail(at, "ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace or a Sequence of them",
         type);
  }
}

bool Decoder::plain() const {
  return std::ranges::all_of(steps_, [](const Step& step) {
    return std::holds_alternative<DecodeByteLevel>(step.how) ||
           std::holds_alternative<DecodeFuse>(step.how);
  });
}

std::string Decoder::decode(std::vector<std::string> tokens, bool continued) const {
  bool fused = false;
  for (const Step& step : steps_) {
    if (std::holds_alternative<DecodeFuse>(step.how)) {
      tokens = {joined_text(tokens)};
      fused = true;
      continue;
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (const auto* replace = std::get_if<DecodeReplace>(&step.how)) {
        token = replaced(token, replace->from, replace->to);
      } else if (const auto* strip = std::get_if<DecodeStrip>(&step.how)) {
        token = stripped(std::move(token), *strip, fused && continued);
      } else if (const auto* spaces = std::get_if<Metaspace>(&step.how)) {
        const bool first = i == 0 && !continued && spaces->prepend() != Metaspace::Prepend::never;
        token = replaced(token, spaces->sign(), first ? "" : " ");
      } else if (std::holds_alternative<DecodeBytes>(step.how)) {
        if (const auto byte = byte_of(token)) token.assign(1, *byte);
      } else {
        token = bytes_of_token(token).value_or(token);
      }
    }
  }
  return joined_text(tokens);
}

}  // namespace scute
