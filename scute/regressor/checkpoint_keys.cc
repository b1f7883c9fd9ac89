#include "scute/regressor/checkpoint_keys.h"

#include <algorithm>
#include <array>

namespace scute {
namespace {

using KeyPart = RegressorKey::Part;
using KeyBackend = RegressorQuantization::Backend;

struct Ending {
  std::string_view text;
  KeyPart part;
  KeyBackend backend = KeyBackend::lsq;
};
// The wrapped endings first: the plain ones are endings of some of them.
constexpr std::array kKeyEndings = {
    Ending{".qconv.impl.conv.weight", KeyPart::weight},
    Ending{".qconv.impl.conv.bias", KeyPart::bias},
    Ending{".qconv.conv.weight", KeyPart::weight},
    Ending{".qconv.conv.bias", KeyPart::bias},
    Ending{".conv.weight", KeyPart::weight},
    Ending{".conv.bias", KeyPart::bias},
    Ending{".qconv.qa.scale", KeyPart::input_scale},
    Ending{".qconv.qa.zero_point", KeyPart::input_zero},
    Ending{".qconv.qw.scale", KeyPart::weight_scale},
    Ending{".qconv.qw.zero_point", KeyPart::weight_zero},
    Ending{".qconv.impl.a_scale", KeyPart::input_scale, KeyBackend::extension},
    Ending{".qconv.impl.a_zp", KeyPart::input_zero, KeyBackend::extension},
    Ending{".qconv.impl.w_scale", KeyPart::weight_scale, KeyBackend::extension},
    Ending{".qconv.impl.w_zp", KeyPart::weight_zero, KeyBackend::extension},
    Ending{".qconv.a_scale", KeyPart::input_scale, KeyBackend::extension},
    Ending{".qconv.a_zp", KeyPart::input_zero, KeyBackend::extension},
    Ending{".qconv.w_scale", KeyPart::weight_scale, KeyBackend::extension},
    Ending{".qconv.w_zp", KeyPart::weight_zero, KeyBackend::extension},
};

/// backbone.blocks.{i}.in_proj or out_proj.
bool is_block_layer(std::string_view layer) {
  constexpr std::string_view kPrefix = "backbone.blocks.";
  if (!layer.starts_with(kPrefix)) return false;
  layer.remove_prefix(kPrefix.size());
  const size_t dot = layer.find('.');
  const std::string_view number = layer.substr(0, dot);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (dot == layer.npos || number.empty() || !std::ranges::all_of(number, digit)) return false;
  const std::string_view name = layer.substr(dot + 1);
  return name == "in_proj" || name == "out_proj";
}

bool may_be_wrapped(std::string_view layer) {
  return layer == "proj" || layer == "head" || layer == "backbone.patch_embedding" ||
         layer == "backbone.output_layer_pool" || is_block_layer(layer);
}

}  // namespace

std::optional<RegressorKey> parse_regressor_key(std::string_view key) {
  for (const Ending& ending : kKeyEndings) {
    if (!key.ends_with(ending.text)) continue;
    const std::string_view layer = key.substr(0, key.size() - ending.text.size());
    if (!may_be_wrapped(layer)) return {};
    return RegressorKey{std::string(layer), ending.part, ending.backend};
  }
  return {};
}

}  // namespace scute
