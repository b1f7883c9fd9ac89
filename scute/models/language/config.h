// The shape of a language model: a residual stream and the blocks that write to it.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

namespace scute {

/// Which recurrence a mixer has.
enum class MixerKind { mamba1, mamba2 };

/// Causal self-attention with grouped queries: query head j reads key head ⌊j / (heads /
/// key_heads)⌋.
struct AttentionConfig {
  int64_t heads = 0;       ///< 0: no block has attention
  int64_t key_heads = 0;   ///< of keys and of values
  int64_t head_width = 0;  ///< d
  float scale = 0;         ///< of q·k before the softmax; 1/√d unless the family says otherwise
  bool qkv_bias = false, out_bias = false;
  int64_t rotated = 0;    ///< RoPE: leading dimensions of a head, pairs (i, i + rotated/2); 0 none
  double theta = 10'000;  ///< RoPE: the angle of pair i is position · theta^(−2i/rotated)
  int64_t taps = 0;       ///< of a causal convolution over [q; k; v] without activation; 0 none
  float in_factor = 1, key_factor = 1, out_factor = 1;  ///< on input, keys before RoPE, output

  bool operator==(const AttentionConfig&) const = default;
};

/// The shape of feed-forwards.
struct FeedForwardConfig {
  enum class Form {
    silu,          ///< down(silu(gate x) · (up x))
    gelu,          ///< down(gelu(gate x) · (up x)), by the error function
    squared_relu,  ///< down(max(up x, 0)²), no gate
  };
  Form form = Form::silu;
  bool bias = false;                      ///< on every matrix
  float gate_factor = 1, out_factor = 1;  ///< on gate x before the activation, on the output

  bool gated() const { return form != Form::squared_relu; }
  bool operator==(const FeedForwardConfig&) const = default;
};

constexpr int64_t kMostExperts = 4096;  ///< of a layer; route() holds so many on the stack

/// A mixture of experts, each a feed-forward of the model's form without bias.
struct ExpertsConfig {
  enum class Routing {
    softmax_of_chosen,  ///< the largest scores; weights: their softmax (Granite)
    softmax,            ///< the largest of the softmax over all, which are the weights (Jamba)
    sigmoid,  ///< the largest of σ(score) + correction in the kept groups; weights: σ(score)
  };
  int64_t count = 0;         ///< X; 0: no block has experts
  int64_t chosen = 0;        ///< T of them for each token; of equal ones the first
  int64_t inner = 0;         ///< I of one expert
  int64_t shared_inner = 0;  ///< of a feed-forward that every token goes through too; 0 none
  int64_t latent =
      0;  ///< width in which the experts work, between two more matrices; 0: the model's
  Routing routing = Routing::softmax;
  /// Of sigmoid routing: `groups` equal parts of the experts, of which those `kept` stay whose two
  /// best choices sum to most; weights divided by (their sum + 1e−20), then times `scaling`.
  int64_t groups = 1, kept = 1;
  bool normalized = true;
  float scaling = 1;

  bool operator==(const ExpertsConfig&) const = default;
};

/// Zamba2's transformer blocks, each shared by several layers.
struct SharedConfig {
  int64_t count = 0;  ///< the n-th layer that uses one uses block n mod count; 0: there are none
  int64_t inner = 0;  ///< of its feed-forward
  int64_t adapter_rank = 0;
  bool attention_adapters = false;  ///< on q, k and v too, not on the feed-forward alone

  bool operator==(const SharedConfig&) const = default;
};

/// What reads a norm of the residual stream and is added to it.
enum class PartKind { mixer, attention, feed_forward, experts };

/// The shape of one block, and where it stands.
struct BlockConfig {
  int64_t layer = 0;            ///< of the checkpoint and of the sites' names
  bool second = false;          ///< the layer's second block: reads norm2 instead of norm
  std::vector<PartKind> parts;  ///< side by side: their outputs are summed
  int64_t inner = 0;            ///< I of its feed-forward
  int64_t shared = -1;  ///< number of this layer among those that use a shared block; −1: none

  bool has(PartKind part) const;
  bool operator==(const BlockConfig&) const = default;
};

/// Everything a checkpoint's tensors follow from. The configs of all families are read into this by
/// the language layer.
struct MambaConfig {
  MixerKind mixer = MixerKind::mamba1;
  int64_t layers = 0;      ///< of the checkpoint
  int64_t width = 0;       ///< D, d_model
  int64_t vocabulary = 0;  ///< V, rows of the embedding, padding included
  int64_t inner = 0;       ///< E, d_inner
  int64_t state = 16;      ///< N, d_state
  int64_t taps = 4;        ///< K, d_conv
  bool conv_bias = true;
  bool tied_head = true;  ///< lm_head is the embedding table
  float norm_eps = 1e-5F;
  bool in_proj_bias = false, out_proj_bias = false;

  int64_t dt_rank = 0;  ///< R; Mamba-1 only, as the next two
  /// RMSNorm of each of dt's R values, B and C before they are used.
  enum class InnerNorms { none, plain, weighted };
  InnerNorms inner_norms = InnerNorms::none;
  float inner_eps = 1e-6F;

  int64_t heads = 0;           ///< H; Mamba-2 only, as the rest of the mixer
  int64_t head_width = 64;     ///< P
  int64_t groups = 1;          ///< G
  bool D_per_channel = false;  ///< D has H·P elements instead of H
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();
  /// Between scan and out_proj, with the gate s = silu(z): norm(y·s), norm(y)·s or y·s.
  enum class GatedNorm { gate_first, norm_first, none };
  GatedNorm gated_norm = GatedNorm::gate_first;
  float gated_eps = 0;  ///< 0: norm_eps
  /// Factors on in_proj's input, on its output's segments z, x, B, C, dt (in the type of its
  /// weights), and on out_proj's output (Falcon-H1).
  float in_factor = 1, out_factor = 1;
  std::array<float, 5> segment_factors{1, 1, 1, 1, 1};

  float embedding_factor = 1;  ///< on the table's rows
  float residual_factor = 1;   ///< on what a block adds
  float logit_factor = 1;
  AttentionConfig attention;
  FeedForwardConfig feed_forward;
  ExpertsConfig experts;
  SharedConfig shared;
  /// In order; empty: each layer is a mixer and nothing else.
  std::vector<BlockConfig> blocks;

  /// `blocks`, written out.
  std::vector<BlockConfig> all_blocks() const;
  /// The layers that use shared block `number`, in order; at least one.
  std::vector<int64_t> shared_users(int64_t number) const;
  /// The kinds of that layer's parts, each once, in order; then those of a shared block it uses.
  std::vector<PartKind> kinds_of_layer(int64_t layer) const;
  /// I of every feed-forward that all its tokens go through, each once, ascending.
  std::vector<int64_t> feed_forward_widths() const;
  /// Mixers and nothing else: no attention, feed-forward or factor.
  bool pure() const;
  /// Columns of in_proj's output, channels of the convolution.
  int64_t projected() const;
  int64_t conv_channels() const;
  /// Error naming `where` and the first number that makes no sense (below 1, absurdly large, or not
  /// dividing what it must divide).
  void check(std::string_view where) const;
  bool operator==(const MambaConfig&) const = default;
};

}  // namespace scute
