// What several families' configs have in common: internal to this folder.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "scute/language/config_reader.h"
#include "scute/language/model_folder.h"

namespace scute {

int64_t ceil_div(int64_t a, int64_t b);
/// whole / parts. Error naming the key unless that is an integer of at least 1.
int64_t share_of(ConfigReader& reader, std::string_view key, int64_t whole, int64_t parts);

/// What a missing hidden_size, vocab_size and tie_word_embeddings are in a family's class.
struct SizeDefaults {
  int64_t width, vocabulary;
  bool tied = false;
};
void read_sizes(ConfigReader& reader, const SizeDefaults& defaults, ModelDescription& out);

/// The norms' epsilon under the first of these names; others of them must agree.
float read_epsilon(ConfigReader& reader, std::initializer_list<std::string_view> names,
                   double otherwise);
/// [least, most] of the time step, from an array of two numbers; null is no limit.
void read_limits(ConfigReader& reader, std::string_view key, MambaConfig& config);
/// In f32, in which this engine sums, residual_in_fp32 changes nothing.
void remark_on_residual(ConfigReader& reader, ModelDescription& out);

/// mamba_n_heads, mamba_d_head, … of Bamba, Granite and Falcon-H1 for an inner width; biases of the
/// projections are left to the caller.
void read_mamba2_keys(ConfigReader& reader, int64_t inner, MambaConfig& config);

/// num_attention_heads and num_key_value_heads (null, or `key_heads` 0: as many as heads).
AttentionConfig read_heads(ConfigReader& reader, int64_t heads, int64_t key_heads);
/// Sets d and the usual scale, 1/√d.
void set_head_width(AttentionConfig& attention, int64_t width);
/// d = hidden_size / heads, and no other head_dim.
void use_head_share(ConfigReader& reader, int64_t width, AttentionConfig& attention);
/// attention_bias: on q, k, v and o.
void read_attention_bias(ConfigReader& reader, AttentionConfig& attention);

/// rope_theta and partial_rotary_factor, in rope_parameters (transformers 5) or beside rope_scaling
/// (4), for heads whose width is set. Error for another kind of rotation than the default one, and
/// for another share of a head than `partial` if that is `fixed`.
struct RopeDefaults {
  double partial = 1;
  bool fixed = false;
};
void read_rope(ConfigReader& reader, const RopeDefaults& defaults, ModelDescription& out);

enum class LayerKind { mixer, attention, feed_forward, experts, hybrid };

/// layer_types or layers_block_type in the words of transformers 4 and 5; empty when neither is
/// there. Error naming a word that means no layer or none of `allowed`, and when both lists are
/// there and differ.
std::vector<LayerKind> read_layer_kinds(ConfigReader& reader,
                                        std::initializer_list<LayerKind> allowed);
/// Error naming the key unless the number is from 1 to 4096.
void require_layer_count(ConfigReader& reader, std::string_view key, int64_t count);
/// Sets the number of layers: num_hidden_layers, which must be the list's length if there is one,
/// or that length. Error as require_layer_count.
void read_layer_count(ConfigReader& reader, int64_t otherwise, const std::vector<LayerKind>& kinds,
                      MambaConfig& config);
/// The list of layer numbers under this key as kinds: those are attention, all others mixers. Error
/// naming a number that is no layer.
std::vector<LayerKind> read_attention_layers(ConfigReader& reader, std::string_view key,
                                             int64_t layers);
bool holds(const std::vector<LayerKind>& kinds, LayerKind kind);

/// A layer of two blocks: `first` side by side, then a feed-forward of width `inner`, or experts.
void add_layer(MambaConfig& config, int64_t layer, std::vector<PartKind> first, PartKind second,
               int64_t inner);

}  // namespace scute
