// The flags that say how a model is quantized, and what it is shown: what several verbs share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/options.h"
#include "scute/data/documents.h"
#include "scute/decide/policy.h"
#include "scute/language/quantize_options.h"

namespace scute::cli {

struct QuantizeFlags {
  /// Bits that may be asked for: of a low-bit model; 16 and 16 too, the float model itself; or
  /// lists of them.
  enum class Bits { low, any, lists };

  void declare(Options& options, Bits bits);
  /// What was asked for, without calibration texts and hybrid lists, in the first of formats().
  /// UsageError on an option that would be ignored.
  QuantizeOptions read() const;
  /// Every combination of the bits given; UsageError on one that is not offered.
  std::vector<LayerFormat> formats() const;
  /// Whether any of them, or of the formats given for a kind of part, rounds activations; whether
  /// any of them rounds weights.
  bool rounds_activations() const;
  bool rounds_weights() const;
  bool uses_gptq() const { return options_.gptq; }
  /// Whether any has a state that is rounded at random.
  bool rounds_stochastically() const;
  /// `flags`, too, are read only where activations have 8 bits.
  void only_with_8_bit_activations(Options& options, const std::vector<std::string>& flags) const;

  /// Layers may have other formats than the bits say; set by who declares such a flag.
  std::function<bool()> other_formats = [] { return false; };

 private:
  /// Formats for one kind of part.
  void declare_kinds(Options& options);
  std::vector<LayerFormat> kinds() const;
  /// `order_too`: whether the seed is that of the order of texts too.
  void declare_activations(Options& options, bool order_too);

  std::string w_bits_ = "8", a_bits_ = "8", hadamard_ = "on", state_scale_ = "channel",
              conv_scale_ = "channel", state_rounding_ = "stochastic";
  std::optional<std::string> fold_;
  std::optional<int64_t> group_;
  int64_t seed_ = 42;
  QuantizeOptions options_;
};

/// Which rule decides, and the share that it keeps: the same in every verb that decides.
struct PolicyFlags {
  std::optional<std::string> policy;
  std::optional<double> alpha;
  std::vector<std::string> per_site = {};  ///< SITE=POLICY, which may read the share too

  /// `otherwise`: the rule without both flags, as the help shows it; `more`: what else the help
  /// says.
  void declare(Options& options, const std::string& otherwise, const std::string& more = "");
  /// --policy; "percentile" of --percentile-alpha alone; nothing without both.
  std::optional<std::string> name() const;
  /// That rule, with the share; nothing without both flags.
  std::optional<Policy> parsed() const;
  /// `text` as a rule, with --percentile-alpha where it keeps a share and names none.
  Policy with_share(const std::string& text) const;

  /// Whether the rule reads --percentile-alpha: percentile and quamba without a share of their own.
  static bool takes_share(const std::string& policy);
};

/// Every combination of two lists of bits; UsageError on one that is not offered.
std::vector<LayerFormat> formats_of(const std::string& w_bits, const std::string& a_bits);

/// --w-bits and --a-bits; --group-size; --hadamard; --stats of `quantize`.
void declare_bits(Options& options, QuantizeFlags::Bits bits, std::string& weights,
                  std::string& activations);
void declare_group_size(Options& options, std::optional<int64_t>& inputs);
void declare_hadamard(Options& options, std::string& value);
void declare_statistics(Options& options, std::string& file);
/// What --seed is for where nothing is shuffled.
constexpr const char* kSeedHelp = "of stochastic rounding, and of a Cobra's random ids";

/// --samples, --seqlen, --skip, --take, --windows-per-document, and the flag of the order.
void declare_windows(Options& options, WindowOptions& windows,
                     const std::string& order = "--shuffle");

}  // namespace scute::cli
