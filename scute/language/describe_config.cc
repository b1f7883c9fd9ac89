// config.json of every family.
#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/language/families/families.h"
#include "scute/language/low_bit_config.h"

namespace scute {
namespace {

/// A config that contradicts itself is of neither family.
void check_architecture(const Json& config, const ModelFamily& family, const std::string& where) {
  const Json* list = config.find("architectures");
  if (list == nullptr || !list->is_array() || list->as_array(where).empty()) return;
  const Json& first = list->as_array(where).front();
  if (!first.is_string()) return;
  const std::string& name = first.as_string(where);
  if (!name.ends_with("ForCausalLM") || name == family.architecture) return;
  fail(where + ": architectures",
       fmt::format("{}, the class of model_type \"{}\"", family.architecture, family.type), name);
}

/// Whose words count. Error when nothing tells, and for a model_type that is not known.
const ModelFamily& family_in(const Json& config, const std::string& where) {
  const Json* named = config.find("model_type");
  const bool own = config.find("d_model") != nullptr;
  if (named == nullptr || !named->is_string()) {
    if (own) return *find_family("");
    fail(where,
         fmt::format("a Mamba config (state-spaces' d_model, or a model_type: {})", family_list()),
         "neither");
  }
  const std::string& type = named->as_string(where);
  const ModelFamily* family = type.empty() ? nullptr : find_family(type);
  if (family == nullptr) {
    fail(where + ": model_type",
         fmt::format("{}, or none beside state-spaces' d_model", family_list()),
         fmt::format("\"{}\", a model that is not known", type));
  }
  // The published mamba-*-hf configs hold both; transformers reads its own words alone.
  const bool both = type == "mamba" || type == "mamba2";
  return both && own && config.find("hidden_size") == nullptr ? *find_family("") : *family;
}

/// Keys of attention that change numbers in other models and that no class here reads.
void refuse_unknown_attention(ConfigReader& reader) {
  for (const char* key :
       {"sliding_window", "attn_logit_softcapping", "final_logit_softcapping", "logits_soft_cap",
        "query_pre_attn_scalar", "use_qk_norm", "qk_norm", "qk_layernorm", "alibi"}) {
    reader.require_nothing(key);
  }
}

/// A list of mixers and nothing else is what no list means too.
void leave_out_plain_blocks(MambaConfig& config) {
  MambaConfig plain = config;
  plain.blocks.clear();
  if (plain.all_blocks() == config.blocks) config.blocks.clear();
}

}  // namespace

ModelDescription describe_config(const Json& config, const std::string& where) {
  ModelDescription out;
  const ModelFamily& family = family_in(config, where);
  out.family = family.type;
  out.dialect = family.type.empty() ? "state-spaces" : "Hugging Face";
  ConfigReader reader(config, where);
  if (!family.type.empty()) check_architecture(config, family, where);
  refuse_unknown_attention(reader);
  family.read(reader, out);
  const std::vector<std::string> unread = reader.unread();
  out.ignored.insert(out.ignored.begin(), unread.begin(), unread.end());
  out.config.check(where);  // and only then are its layers counted out
  leave_out_plain_blocks(out.config);
  out.json = config;
  if (const Json* scute = config.find("scute"); scute != nullptr) {
    out.low_bit = true;
    out.scheme = scheme_from_json(*scute, where + ": scute");
    const auto formats = layers_from_json(*scute, where + ": scute");
    if (std::ssize(formats) != out.config.layers) {
      fail(where + ": scute: layers", fmt::format("{} formats", out.config.layers),
           fmt::format("{}", formats.size()));
    }
  }
  return out;
}

}  // namespace scute
