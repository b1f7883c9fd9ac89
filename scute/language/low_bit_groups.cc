#include "scute/language/low_bit_groups.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "scute/base/names.h"
#include "scute/quantize/weight.h"

namespace scute {
namespace {

constexpr const char* kQkv = "attention\\.(q_proj|k_proj|v_proj)";

/// Modules of several layers with one form of storage.
class PartGroups {
 public:
  explicit PartGroups(int64_t group) : group_(group) {}

  /// `where`: "layers" or "shared".
  void add(const LayerFormat& format, const char* where, int64_t number, std::string modules,
           int64_t inputs) {
    if (format.is_float()) return;
    const int64_t size = WeightFormat::fitting_group(inputs, group_);
    const bool grouped = format.weight_bits == 4 && inputs > size;
    Form& form =
        forms_[{format.weight_bits, format.eight_bit_activations(), grouped ? size : int64_t{0}}];
    form.inputs = inputs;
    form.numbers[{where, std::move(modules)}].push_back(fmt::format("{}", number));
  }

  std::vector<MatrixGroup> take() const {
    std::vector<MatrixGroup> out;
    for (const auto& [key, form] : forms_) {
      MatrixGroup one{std::get<0>(key), std::get<1>(key), form.inputs, {}};
      for (const auto& [target, numbers] : form.numbers) {
        one.targets.push_back(
            fmt::format("re:.*{}\\.({})\\.{}$", target.first, joined(numbers, "|"), target.second));
      }
      out.push_back(std::move(one));
    }
    return out;
  }

 private:
  struct Form {
    int64_t inputs = 0;
    std::map<std::pair<std::string, std::string>, std::vector<std::string>> numbers;
  };

  int64_t group_;
  std::map<std::tuple<int, bool, int64_t>, Form> forms_;
};

std::string first_matrices(const MambaConfig& config, const char* of) {
  return fmt::format("{}({}up_proj)", of, config.feed_forward.gated() ? "gate_proj|" : "");
}

void add_experts(const MambaConfig& config, const LayerFormat& format, int64_t layer,
                 PartGroups& groups) {
  const ExpertsConfig& e = config.experts;
  const int64_t width = e.latent > 0 ? e.latent : config.width;
  const auto add = [&](std::string modules, int64_t inputs) {
    groups.add(format, "layers", layer, std::move(modules), inputs);
  };
  add(first_matrices(config, "mlp\\.experts\\.\\d+\\."), width);
  add("mlp\\.experts\\.\\d+\\.down_proj", e.inner);
  if (e.latent > 0) add("mlp\\.latent_in", config.width);
  if (e.latent > 0) add("mlp\\.latent_out", e.latent);
  if (e.shared_inner == 0) return;
  add(first_matrices(config, "mlp\\.shared\\."), config.width);
  add("mlp\\.shared\\.down_proj", e.shared_inner);
}

void add_block(const MambaConfig& config, const BlockConfig& block, const LayerFormats& formats,
               PartGroups& groups) {
  const int64_t heads = config.attention.heads * config.attention.head_width;
  const auto add = [&](const LayerFormat& format, std::string modules, int64_t inputs) {
    groups.add(format, "layers", block.layer, std::move(modules), inputs);
  };
  if (block.shared >= 0) add(formats.feed_forward, "linear", config.width);
  for (const PartKind kind : block.parts) {
    switch (kind) {
      case PartKind::mixer:
        break;
      case PartKind::attention:
        add(formats.attention, kQkv, config.width);
        add(formats.attention, "attention\\.o_proj", heads);
        break;
      case PartKind::feed_forward:
        add(formats.feed_forward, first_matrices(config, "mlp\\."), config.width);
        add(formats.feed_forward, "mlp\\.down_proj", block.inner);
        break;
      case PartKind::experts:
        add_experts(config, formats.experts, block.layer, groups);
        break;
    }
  }
}

}  // namespace

std::vector<MatrixGroup> part_groups(const MambaConfig& config,
                                     const std::vector<LayerFormats>& layers, int64_t group) {
  PartGroups groups(group);
  for (const BlockConfig& block : config.blocks) {
    add_block(config, block, layers[static_cast<size_t>(block.layer)], groups);
  }
  const int64_t heads = config.attention.heads * config.attention.head_width;
  for (int64_t number = 0; number < config.shared.count; ++number) {
    const std::vector<int64_t> users = config.shared_users(number);
    if (users.empty()) continue;
    const LayerFormats& formats = layers[static_cast<size_t>(users.front())];
    const auto add = [&](const LayerFormat& format, std::string modules, int64_t inputs) {
      groups.add(format, "shared", number, std::move(modules), inputs);
    };
    add(formats.attention, kQkv, 2 * config.width);
    add(formats.attention, "attention\\.o_proj", heads);
    add(formats.feed_forward, first_matrices(config, "mlp\\."), config.width);
    add(formats.feed_forward, "mlp\\.down_proj", config.shared.inner);
  }
  return groups.take();
}

std::vector<std::string> float_parts(const MambaConfig& config) {
  std::vector<std::string> out;
  if (config.experts.count > 0) out.emplace_back("re:.*mlp\\.router$");
  if (config.shared.count > 0) out.emplace_back("re:.*adapter\\..*");
  return out;
}

}  // namespace scute
