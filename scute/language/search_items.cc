#include "scute/language/search_items.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "scute/language/scale_names.h"

namespace scute {
namespace {

bool is_matrix(const std::string& tensor) {
  return tensor.find("_proj.weight") != std::string::npos ||
         tensor.find(".latent_in.weight") != std::string::npos ||
         tensor.find(".latent_out.weight") != std::string::npos ||
         tensor.find(".linear.weight") != std::string::npos;
}

constexpr std::string_view kShared = "backbone.shared.";

}  // namespace

std::string FormatItem::name() const {
  if (shared >= 0) return fmt::format("shared block {}", shared);
  return std::string(name_of(kinds.front()));
}

std::vector<FormatItem> format_items(const MambaConfig& config, const QuantizeOptions& options) {
  std::vector<FormatItem> out;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const BlockConfig& block : config.all_blocks()) {
      if (block.layer != layer) continue;
      for (const PartKind kind : block.parts) {
        const FormatItem item{{layer}, {kind}};
        const bool there = std::ranges::find(out, item) != out.end();
        if (!there && !options.own(kind)) out.push_back(item);
      }
    }
  }
  for (int64_t number = 0; number < config.shared.count; ++number) {
    FormatItem item{config.shared_users(number), {}, number};
    for (const PartKind kind : {PartKind::attention, PartKind::feed_forward}) {
      if (!options.own(kind)) item.kinds.push_back(kind);
    }
    if (!item.kinds.empty()) out.push_back(std::move(item));
  }
  return out;
}

bool one_mixer_a_layer(const std::vector<FormatItem>& items, int64_t layers) {
  if (std::ssize(items) != layers) return false;
  for (int64_t i = 0; i < layers; ++i) {
    if (!(items[static_cast<size_t>(i)] == FormatItem{{i}, {PartKind::mixer}})) return false;
  }
  return true;
}

ItemOfTensor::ItemOfTensor(const MambaConfig& config, const std::vector<FormatItem>& items)
    : config_(config), items_(items) {}

int64_t ItemOfTensor::of_part(int64_t layer, PartKind kind) const {
  const auto found = std::ranges::find(items_, FormatItem{{layer}, {kind}});
  return found == items_.end() ? kFixed : found - items_.begin();
}

/// One that is attention or feed-forward alone where the other is fixed has all tensors of both:
/// those of the other cost the same in every format.
int64_t ItemOfTensor::of_shared(int64_t number) const {
  const auto found = std::ranges::find(items_, number, &FormatItem::shared);
  return found == items_.end() ? kFixed : found - items_.begin();
}

int64_t ItemOfTensor::operator()(const std::string& tensor) const {
  if (!is_matrix(tensor)) return kNone;
  if (tensor.starts_with(kShared)) {
    int64_t number = -1;
    std::from_chars(tensor.data() + kShared.size(), tensor.data() + tensor.size(), number);
    return of_shared(number);
  }
  const int64_t layer = layer_of(tensor);
  if (layer < 0) return kNone;
  const auto in = [&](std::string_view part) { return tensor.find(part) != std::string::npos; };
  if (in(".mixer.")) return of_part(layer, PartKind::mixer);
  if (in(".attention.")) return of_part(layer, PartKind::attention);
  for (const BlockConfig& block : config_.all_blocks()) {
    if (block.layer != layer) continue;
    if (in(".linear.") && block.shared >= 0) return of_shared(block.shared % config_.shared.count);
    for (const PartKind kind : {PartKind::feed_forward, PartKind::experts}) {
      if (in(".mlp.") && block.has(kind)) return of_part(layer, kind);
    }
  }
  return kNone;
}

std::vector<size_t> knapsack(const std::vector<std::vector<double>>& losses,
                             const std::vector<std::vector<int64_t>>& costs, int64_t budget) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto room = static_cast<size_t>(budget) + 1;
  // best[used] is the least loss of the items so far that cost at most `used`.
  std::vector<double> best(room, 0);
  std::vector<std::vector<uint8_t>> chosen(losses.size(), std::vector<uint8_t>(room));
  for (size_t item = 0; item < losses.size(); ++item) {
    std::vector<double> next(room, kNever);
    for (size_t used = 0; used < room; ++used) {
      for (size_t f = 0; f < costs[item].size(); ++f) {
        const auto cost = static_cast<size_t>(costs[item][f]);
        if (cost > used) continue;
        const double loss = best[used - cost] + losses[item][f];
        if (loss < next[used]) {
          next[used] = loss;
          chosen[item][used] = static_cast<uint8_t>(f);
        }
      }
    }
    best = std::move(next);
  }
  std::vector<size_t> out(losses.size());
  size_t used = room - 1;
  for (size_t item = losses.size(); item-- > 0;) {
    out[item] = chosen[item][used];
    used -= static_cast<size_t>(costs[item][out[item]]);
  }
  return out;
}

}  // namespace scute
