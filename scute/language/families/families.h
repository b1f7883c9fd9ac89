// The families of language models: how config.json is read, and what their tensors are called.
// Adding one: docs/families.md.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/language/config_reader.h"
#include "scute/language/model_folder.h"

namespace scute {

struct ModelFamily {
  std::string_view type;          ///< config.json's model_type; "" where it has none
  std::string_view architecture;  ///< the class that `architectures` names
  std::string_view stem;          ///< what the published names of the body's tensors begin with
  std::string_view embedding, last_norm;  ///< what follows it in two of them
  /// Fills in config, vocabulary_unpadded, ignored and remarks. Error naming key and value for what
  /// this engine does not compute.
  void (*read)(ConfigReader& reader, ModelDescription& out);
  /// Gives tensors that use_plain_names has seen our names and splits those that hold several of
  /// ours; null: use_plain_names suffices. Leaves our names alone, so that what quantize wrote can
  /// be read. Returns remarks, a sentence each.
  std::vector<std::string> (*rename)(const MambaConfig& config, Weights& weights);
  /// The inverse for all a float model's tensors in our names, within "backbone."; null: nothing to
  /// do.
  void (*publish)(const MambaConfig& config, Weights& weights);
};

/// All of them; the first is the state-spaces dialect, which has no model_type.
std::span<const ModelFamily> families();
/// "" is state-spaces. Null when there is no such family.
const ModelFamily* find_family(std::string_view type);
/// "bamba, falcon_h1, …".
std::string family_list();

void read_state_spaces(ConfigReader& reader, ModelDescription& out);
void read_mamba(ConfigReader& reader, ModelDescription& out);
void read_falcon_mamba(ConfigReader& reader, ModelDescription& out);
void read_mamba2(ConfigReader& reader, ModelDescription& out);
void read_bamba(ConfigReader& reader, ModelDescription& out);
void read_granite(ConfigReader& reader, ModelDescription& out);
void read_falcon_h1(ConfigReader& reader, ModelDescription& out);
void read_nemotron_h(ConfigReader& reader, ModelDescription& out);
void read_jamba(ConfigReader& reader, ModelDescription& out);
void read_zamba2(ConfigReader& reader, ModelDescription& out);

std::vector<std::string> rename_state_spaces(const MambaConfig& config, Weights& weights);
std::vector<std::string> rename_bamba(const MambaConfig& config, Weights& weights);
std::vector<std::string> rename_granite(const MambaConfig& config, Weights& weights);
std::vector<std::string> rename_nemotron_h(const MambaConfig& config, Weights& weights);
std::vector<std::string> rename_jamba(const MambaConfig& config, Weights& weights);
std::vector<std::string> rename_zamba2(const MambaConfig& config, Weights& weights);

void publish_state_spaces(const MambaConfig& config, Weights& weights);
void publish_bamba(const MambaConfig& config, Weights& weights);
void publish_granite(const MambaConfig& config, Weights& weights);
void publish_nemotron_h(const MambaConfig& config, Weights& weights);
void publish_jamba(const MambaConfig& config, Weights& weights);
void publish_zamba2(const MambaConfig& config, Weights& weights);

}  // namespace scute
