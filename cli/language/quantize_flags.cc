#include "cli/language/quantize_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/decide/policy_use.h"

namespace scute::cli {
namespace {

constexpr const char* kActivationBits = "bits of activations; 16: floats, with 4-bit weights only";

}  // namespace

void declare_bits(Options& options, QuantizeFlags::Bits bits, std::string& weights,
                  std::string& activations) {
  if (bits == QuantizeFlags::Bits::lists) {
    options.text("--w-bits", weights, "BITS,...", "bits of weights: 8, 4, or 16 with --a-bits 16");
    options.text("--a-bits", activations, "BITS,...", "bits of activations: 8, or 16, floats");
    return;
  }
  if (bits == QuantizeFlags::Bits::low) {
    options.choice("--w-bits", weights, {"8", "4"}, "bits of weights");
  } else {
    options.choice("--w-bits", weights, {"8", "4", "16"},
                   "bits of weights; 16 with --a-bits 16: the float model itself");
  }
  options.choice("--a-bits", activations, {"8", "16"}, kActivationBits);
}

void declare_group_size(Options& options, std::optional<int64_t>& inputs) {
  options.integer("--group-size,--group", inputs, {.least = 1}, "128",
                  "inputs that share a 4-bit scale");
}

void declare_hadamard(Options& options, std::string& value) {
  options.choice("--hadamard", value, {"on", "off"},
                 "fold norms and rotate residual stream and out_proj's input");
}

void declare_statistics(Options& options, std::string& file) {
  options.statistics_in(file);
  options.note("Without --plan the ranges are decided from --stats.");
}

void QuantizeFlags::declare(Options& options, Bits bits) {
  declare_bits(options, bits, w_bits_, a_bits_);
  options.flag("--gptq,--apply-gptq", options_.gptq,
               "round the matrices of all parts and the head by GPTQ, from texts");
  declare_group_size(options, group_);
  options.flag("--per-tensor", options_.per_tensor, "8-bit weights: one scale a matrix, as Quamba");
  options.flag("--quantize-embedding", options_.embedding, "quantize the table of token vectors");
  options.flag("--quantize-lm-head", options_.head, "quantize the head and its input");
  declare_kinds(options);
  declare_activations(options, bits == Bits::low);
}

void QuantizeFlags::declare_kinds(Options& options) {
  struct Kind {
    const char *flag, *help;
    std::optional<LayerFormat>& format;
  };
  for (const Kind& kind :
       {Kind{"--mixers", "format of the Mamba mixers: W8A8, W4A8, W8A16, W4A16 or FP",
             options_.mixers},
        Kind{"--attention", "hybrids: the same of attention", options_.attention},
        Kind{"--feed-forwards", "hybrids: the same of feed-forwards", options_.feed_forwards},
        Kind{"--experts", "hybrids: the same of experts, shared ones too; routers stay floats",
             options_.experts}}) {
    options.custom(kind.flag, "FORMAT", "as --w-bits and --a-bits", kind.help,
                   [flag = kind.flag, &format = kind.format](const std::string& given) {
                     format = LayerFormat::parse(given, flag);
                   });
  }
  options.custom(
      "--cache", "FORM", "f32", "hybrids: attention's keys and values: f32, bf16 or int8",
      [this](const std::string& given) { options_.cache = parse_cache(given, "--cache"); });
  options.only_with({"--mixers", "--attention", "--feed-forwards", "--experts", "--cache"},
                    "--w-bits 8 or 4", [this] { return rounds_weights(); });
}

std::vector<LayerFormat> QuantizeFlags::kinds() const {
  std::vector<LayerFormat> out;
  for (const auto* kind :
       {&options_.mixers, &options_.attention, &options_.feed_forwards, &options_.experts}) {
    if (*kind) out.push_back(**kind);
  }
  return out;
}

void QuantizeFlags::declare_activations(Options& options, bool order_too) {
  declare_hadamard(options, hadamard_);
  options.custom("--fold", "on|off", "as --hadamard",
                 "fold norms into the matrices behind them; without rotation for floats only",
                 [this](const std::string& given) {
                   if (given != "on" && given != "off") {
                     fail("--fold", "on or off", fmt::format("\"{}\"", given));
                   }
                   fold_ = given;
                 });
  options.flag("--group-heads", options_.group_heads,
               "Mamba-2: reorder heads and channels, a scale for each group");
  options.custom("--group-percentile", "A", "",
                 "share of a whole site's values beyond which no group of heads goes",
                 [this](const std::string& given) {
                   options_.group_percentile = Policy::parse("percentile:" + given).alpha;
                 });
  options.flag("--shared-scales", options_.shared_scales,
               "Mamba-1: one scale for x and z, one for dt, B and C, as Quamba");
  options.choice("--conv-scale", conv_scale_, {"channel", "tensor"},
                 "8-bit input of the convolution: scales per channel, from statistics, or one");
  options.choice("--state-scale", state_scale_, {"channel", "tensor", "none"},
                 "8-bit state: scales per channel, one, or a float state");
  options.choice("--state-rounding", state_rounding_, {"stochastic", "nearest"},
                 "how the state is rounded after every call");
  options.number("--state-clip", options_.state_clip, 0.01, 10,
                 "share of the state's range that is kept");
  options.integer("--seed", seed_, {},
                  order_too ? "of the calibration windows and stochastic rounding" : kSeedHelp);
  only_with_8_bit_activations(options, {"--group-heads", "--shared-scales", "--conv-scale",
                                        "--state-scale", "--state-rounding", "--state-clip"});
  options.not_with({"--state-rounding", "--state-clip"}, "--state-scale none",
                   [this] { return state_scale_ == "none"; });
  options.only_with({"--hadamard", "--fold", "--gptq"}, "--w-bits 8 or 4",
                    [this] { return rounds_weights(); });
}

std::vector<LayerFormat> QuantizeFlags::formats() const { return formats_of(w_bits_, a_bits_); }

bool QuantizeFlags::rounds_activations() const {
  return other_formats() || std::ranges::any_of(formats(), &LayerFormat::eight_bit_activations) ||
         std::ranges::any_of(kinds(), &LayerFormat::eight_bit_activations);
}

bool QuantizeFlags::rounds_weights() const {
  return other_formats() || !std::ranges::all_of(formats(), &LayerFormat::is_float);
}

bool QuantizeFlags::rounds_stochastically() const {
  return rounds_activations() && state_scale_ != "none" && state_rounding_ == "stochastic";
}

void QuantizeFlags::only_with_8_bit_activations(Options& options,
                                                const std::vector<std::string>& flags) const {
  options.only_with(flags, "--a-bits 8 (of floats nothing is clipped)",
                    [this] { return rounds_activations(); });
}

std::vector<LayerFormat> formats_of(const std::string& w_bits, const std::string& a_bits) {
  const auto known = [](const char* flag, const std::string& word, const char* words) {
    for (const std::string& one : words_of({words})) {
      if (word == one) return std::stoi(word);
    }
    throw UsageError(fmt::format("{}: expected {}, found \"{}\"", flag, words, word));
  };
  std::vector<LayerFormat> out;
  for (const std::string& w : words_of({w_bits})) {
    for (const std::string& a : words_of({a_bits})) {
      out.push_back({known("--w-bits", w, "8,4,16"), known("--a-bits", a, "8,16")});
      if (out.back() == LayerFormat{16, 8}) {
        throw UsageError(fmt::format(
            "--w-bits {} --a-bits {}: expected W8A8, W4A8, W8A16 or W4A16, found W{}A{}", w, a, w,
            a));
      }
    }
  }
  if (out.empty()) throw UsageError("--w-bits and --a-bits: expected numbers, found none");
  return out;
}

QuantizeOptions QuantizeFlags::read() const {
  QuantizeOptions out = options_;
  const std::vector<LayerFormat> all = formats();
  out.format = all.front();
  const std::vector<LayerFormat> of_kinds = kinds();
  const auto weights = [&](int bits) {
    const auto has = [bits](const LayerFormat& f) { return f.weight_bits == bits; };
    return std::ranges::any_of(all, has) || std::ranges::any_of(of_kinds, has);
  };
  if (group_ && !weights(4) && !other_formats()) {
    throw UsageError(fmt::format("--group-size: expected --w-bits 4, found {}", w_bits_));
  }
  if (out.per_tensor && !weights(8) && !other_formats()) {
    throw UsageError(fmt::format("--per-tensor: expected --w-bits 8, found {}", w_bits_));
  }
  if (out.group_percentile && !out.group_heads) {
    throw UsageError("--group-percentile: expected --group-heads beside it, found no groups");
  }
  using ConvScale = QuantizeOptions::ConvScale;
  using StateScale = QuantizeOptions::StateScale;
  out.hadamard = hadamard_ == "on";
  out.fold = fold_.value_or(hadamard_) == "on";
  out.state_scale = state_scale_ == "channel"  ? StateScale::channel
                    : state_scale_ == "tensor" ? StateScale::tensor
                                               : StateScale::none;
  out.conv_scale = conv_scale_ == "channel" ? ConvScale::channel : ConvScale::tensor;
  out.state_rounding = state_rounding_ == "nearest" ? Scheme::StateRounding::nearest
                                                    : Scheme::StateRounding::stochastic;
  out.seed = static_cast<uint64_t>(seed_);
  out.group = group_.value_or(out.group);
  return out;
}

void PolicyFlags::declare(Options& options, const std::string& otherwise, const std::string& more) {
  options.custom("--policy", "POLICY", otherwise,
                 "how ranges are decided: auto, minmax, percentile, tail, mse, entropy or quamba; "
                 "--percentile-alpha alone means percentile" +
                     more,
                 [this](const std::string& given) {
                   Policy::parse(given);
                   policy = given;
                 });
  options.custom(
      "--percentile-alpha", "A", "0.9995",
      "share of values that percentile and quamba keep; 50 to 100: in percent",
      [this](const std::string& given) { alpha = Policy::parse("percentile:" + given).alpha; });
  options.only_with({"--percentile-alpha"},
                    "the policy percentile or quamba, without a share of its own,", [this] {
                      const auto reads = [](const std::string& pair) {
                        const size_t equals = pair.rfind('=');
                        return equals != std::string::npos && takes_share(pair.substr(equals + 1));
                      };
                      return !policy || takes_share(*policy) ||
                             std::ranges::any_of(per_site, reads);
                    });
}

std::optional<std::string> PolicyFlags::name() const {
  if (policy || !alpha) return policy;
  return "percentile";
}

std::optional<Policy> PolicyFlags::parsed() const {
  const std::optional<std::string> text = name();
  return text ? std::optional<Policy>(with_share(*text)) : std::nullopt;
}

Policy PolicyFlags::with_share(const std::string& text) const {
  Policy out = Policy::parse(text);
  if (alpha && takes_share(text)) out.alpha = *alpha;
  return out;
}

bool PolicyFlags::takes_share(const std::string& policy) { return scute::takes_share(policy); }

void declare_windows(Options& options, WindowOptions& windows, const std::string& order) {
  options.integer("--samples,--calib-data-num", windows.samples, {.least = 1},
                  "windows of text shown to the model, at most");
  options.integer("--seqlen,--calib-seqlen", windows.seqlen, {.least = 1},
                  "tokens of a window, at most");
  options.custom(order, "SEED|none", fmt::format("{}", *windows.shuffle),
                 "order of the documents: shuffled with this seed, or as in the files",
                 [&windows](const std::string& given) {
                   windows.shuffle = std::nullopt;
                   if (given == "none") return;
                   windows.shuffle =
                       static_cast<uint64_t>(parse_integer("--shuffle", given, {.least = 0}));
                 });
  options.part(windows.skip, windows.take);
  options.integer("--windows-per-document", windows.windows_per_document, {.least = 1},
                  "consecutive windows cut from one document, at most");
}

}  // namespace scute::cli
