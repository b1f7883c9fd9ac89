#include "scute/language/families/families.h"

#include <algorithm>
#include <array>

#include "scute/base/names.h"

namespace scute {
namespace {

constexpr auto kFamilies = std::to_array<ModelFamily>({
    {"", "", "backbone.", "embedding.", "norm_f.", read_state_spaces, rename_state_spaces,
     publish_state_spaces},
    {"mamba", "MambaForCausalLM", "backbone.", "embeddings.", "norm_f.", read_mamba, nullptr,
     nullptr},
    {"falcon_mamba", "FalconMambaForCausalLM", "backbone.", "embeddings.", "norm_f.",
     read_falcon_mamba, nullptr, nullptr},
    {"mamba2", "Mamba2ForCausalLM", "backbone.", "embeddings.", "norm_f.", read_mamba2, nullptr,
     nullptr},
    {"bamba", "BambaForCausalLM", "model.", "embed_tokens.", "final_layernorm.", read_bamba,
     rename_bamba, publish_bamba},
    {"granitemoehybrid", "GraniteMoeHybridForCausalLM", "model.", "embed_tokens.", "norm.",
     read_granite, rename_granite, publish_granite},
    {"falcon_h1", "FalconH1ForCausalLM", "model.", "embed_tokens.", "final_layernorm.",
     read_falcon_h1, rename_bamba, publish_bamba},
    {"nemotron_h", "NemotronHForCausalLM", "backbone.", "embeddings.", "norm_f.", read_nemotron_h,
     rename_nemotron_h, publish_nemotron_h},
    {"jamba", "JambaForCausalLM", "model.", "embed_tokens.", "final_layernorm.", read_jamba,
     rename_jamba, publish_jamba},
    {"zamba2", "Zamba2ForCausalLM", "model.", "embed_tokens.", "final_layernorm.", read_zamba2,
     rename_zamba2, publish_zamba2},
});

}  // namespace

std::span<const ModelFamily> families() { return kFamilies; }

const ModelFamily* find_family(std::string_view type) {
  const auto found = std::ranges::find(kFamilies, type, &ModelFamily::type);
  return found == kFamilies.end() ? nullptr : &*found;
}

std::string family_list() {
  std::vector<std::string> names;
  for (const ModelFamily& family : kFamilies) {
    if (!family.type.empty()) names.emplace_back(family.type);
  }
  return joined(names, ", ");
}

}  // namespace scute
