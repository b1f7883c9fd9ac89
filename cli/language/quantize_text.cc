#include "cli/language/quantize_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/language/low_bit_config.h"

namespace scute::cli {
namespace {

/// Of a model whose kinds of parts have formats of their own.
std::string kinds_text(const LowBitModel& low, const std::vector<LayerFormats>& layers) {
  constexpr const char* kKinds[] = {"mixers", "attention", "feed-forwards", "experts"};
  std::map<std::pair<PartKind, std::string>, int64_t> counts;
  for (const BlockConfig& block : low.description.config.all_blocks()) {
    for (const PartKind kind : block.parts) {
      ++counts[{kind, layers[static_cast<size_t>(block.layer)].of(kind).name()}];
    }
  }
  const MambaConfig& config = low.description.config;
  for (int64_t number = 0; number < config.shared.count; ++number) {
    const auto first = static_cast<size_t>(config.shared_users(number).front());
    for (const PartKind kind : {PartKind::attention, PartKind::feed_forward}) {
      ++counts[{kind, layers[first].of(kind).name()}];
    }
  }
  std::string out;
  for (const auto& [key, count] : counts) {
    out += fmt::format("{}{} {} × {}", out.empty() ? "" : ", ",
                       kKinds[static_cast<size_t>(key.first)], count, key.second);
  }
  return out;
}

}  // namespace

std::string gptq_text(const LowBitModel& low) {
  if (low.gptq.empty()) return "";
  double gain = 0;
  int64_t dead = 0, damped = 0;
  double most = 0;
  for (const auto& [name, report] : low.gptq) {
    gain += report.error_nearest > 0 ? report.error / report.error_nearest : 1;
    dead += report.dead;
    most = std::max(most, report.damping);
    damped += report.attempts > 1 ? 1 : 0;
  }
  return fmt::format(
      "GPTQ        {}, output error {} of rounding to nearest on average; damped by {} of the mean "
      "diagonal{}{}\n",
      fmt::format("{} matrices", low.gptq.size()),
      fixed(gain / static_cast<double>(low.gptq.size()), 2), significant(most, 2),
      damped > 0 ? fmt::format(" at most; {} needed more than 0.01", damped) : "",
      dead > 0 ? fmt::format("; {} never used", count_of(dead, "input")) : "");
}

std::string formats_text(const LowBitModel& low) {
  const auto layers = layers_from_json(low.config.at("scute", ""), "config.json: scute");
  const auto one = [](const LayerFormats& of) { return of == LayerFormats::all(of.mixer); };
  if (!std::ranges::all_of(layers, one)) return kinds_text(low, layers);
  std::map<std::string, int64_t> counts;
  for (const LayerFormats& layer : layers) ++counts[layer.mixer.name()];
  std::string out;
  for (const auto& [name, count] : counts) {
    out += fmt::format("{}{} × {}", out.empty() ? "" : ", ", count, name);
  }
  return out;
}

std::string search_text(const SearchResult& found) {
  std::vector<Table::Column> columns{{"layer"}};
  if (found.by_part()) columns.push_back({"part", Table::Align::left});
  for (const LayerFormat& format : found.formats) columns.push_back({format.name()});
  columns.push_back({"chosen", Table::Align::left});
  Table table(columns);
  for (size_t i = 0; i < found.items.size(); ++i) {
    std::vector<std::string> cells{fmt::format("{}", fmt::join(found.items[i].layers, ", "))};
    if (found.by_part()) cells.push_back(found.items[i].name());
    for (const MeanAndError& loss : found.divergence[i]) cells.push_back(significant(loss.mean, 3));
    cells.push_back(found.formats[found.chosen[i]].name());
    table.add(std::move(cells));
  }
  return fmt::format("divergence from the float model with one {} rounded, nats per token\n",
                     found.by_part() ? "part" : "layer") +
         table.text() +
         fmt::format("chosen: {} bits a weight; divergence {} predicted, {} ± {} measured\n",
                     significant(found.average_bits, 3), significant(found.predicted, 3),
                     significant(found.measured.mean, 3),
                     significant(found.measured.standard_error, 2));
}

}  // namespace scute::cli
