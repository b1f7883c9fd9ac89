// Low-bit models as folders: written beside their name, checked, and only then put there.
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/quantize.h"
#include "scute/language/tokenizer_files.h"
#include "scute/recipe/folder_writer.h"
#include "scute/recipe/statistics_io.h"

namespace scute {

ProbeComparison write_low_bit(const LowBitModel& model, const std::string& path, bool replace) {
  FolderWriter folder(path, {.sources = {model.description.path}, .replace = replace});
  return write_low_bit(model, folder);
}

ProbeComparison write_low_bit(const LowBitModel& model, FolderWriter& folder) {
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

  const Execution execution;
  const LanguageModel stored =
      load_model(describe_model(folder.path()), execution, LanguageModel::Head::packed);
  const ProbeComparison comparison =
      require_same_bits(probe_language(build_model(model, execution), kProbeSeed),
                        probe_language(stored, kProbeSeed), folder.target());
  folder.commit();
  return comparison;
}

}  // namespace scute
