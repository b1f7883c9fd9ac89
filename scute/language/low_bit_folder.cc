// Low-bit models as folders: written beside their name, checked, and only then put there.
#include <utility>

#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/quantize.h"
#include "scute/language/tokenizer_files.h"
#include "scute/recipe/folder_writer.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

std::vector<NamedTensor> probe_whole(const ModelDescription& model, Weights weights) {
  return probe_language(LanguageModel(model.config, std::move(weights), Execution(),
                                      LanguageModel::Head::packed, model.scheme),
                        kProbeSeed);
}

std::vector<NamedTensor> probe_by_layers(const ModelDescription& model, Weights weights) {
  LayeredModel layered(model.config, std::move(weights), Execution(), model.scheme);
  return probe_language(layered, kProbeSeed, head_rows_at_once(model.config.width));
}

}  // namespace

ProbeComparison write_low_bit(const LowBitModel& model, const std::string& path, bool replace) {
  FolderWriter folder(path, {.sources = {model.description.path}, .replace = replace});
  return write_low_bit(model, folder);
}

ProbeComparison write_low_bit(const LowBitModel& model, FolderWriter& folder, FolderCheck check) {
  write_safetensors(folder.file("model.safetensors"), model.tensors, {{"format", "pt"}});
  write_file(folder.file("config.json"), model.config.dump_config(2) + "\n");
  write_file(folder.file("recipe.json"), model.recipe.dump(2) + "\n");
  if (!model.plan.sites.empty()) {
    write_file(folder.file("plan.json"), model.plan.to_json().dump(2) + "\n");
  }
  if (model.statistics) {
    write_statistics(folder.file("statistics.safetensors"), *model.statistics);
  }
  copy_tokenizer(model.description, folder);

  const ModelDescription stored = describe_model(folder.path());
  const ProbeComparison comparison =
      check == FolderCheck::whole
          ? require_same_bits(probe_whole(model.description, tensors_of(model)),
                              probe_whole(stored, read_weights(stored)), folder.target())
          : require_same_bits(probe_by_layers(model.description, tensors_of(model)),
                              probe_by_layers(stored, read_weights(stored)), folder.target());
  folder.commit();
  return comparison;
}

}  // namespace scute
