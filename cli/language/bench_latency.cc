#include "cli/language/bench_latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "cli/language/forward.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/threads.h"
#include "scute/evaluate/generate.h"
#include "scute/kernels/elementwise.h"

namespace scute::cli {
namespace {

constexpr int64_t kPromptLen = 512, kGenLen = 128;
/// Steps before any is timed: the first after a prefill finds the caches full of other things.
constexpr int64_t kWarmUpSteps = 8;

/// Seconds; the middle one of several, and how far they lie apart.
struct Spread {
  double median = 0, least = 0, most = 0;
};

/// As llama-bench says it: over the rates of the runs, with n − 1.
struct MeanRate {
  double mean = 0;
  std::optional<double> deviation;  ///< none of one run
};

MeanRate mean_rate(int64_t tokens, const std::vector<double>& seconds) {
  MeanRate out;
  std::vector<double> rates;
  for (const double one : seconds) rates.push_back(static_cast<double>(tokens) / one);
  const auto n = static_cast<double>(rates.size());
  for (const double rate : rates) out.mean += rate / n;
  double squares = 0;
  for (const double rate : rates) squares += (rate - out.mean) * (rate - out.mean);
  if (rates.size() > 1) out.deviation = std::sqrt(squares / (n - 1));
  return out;
}

/// Never with an exponent.
std::string rate_text(double rate) {
  return rate < 1000 ? fixed(rate, rate < 10 ? 3 : 1) : grouped(std::llround(rate));
}

Spread spread_of(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const size_t n = seconds.size();
  return {(seconds[(n - 1) / 2] + seconds[n / 2]) / 2, seconds.front(), seconds.back()};
}

/// One sequence that goes on greedily, a token at a time.
class Sequence {
 public:
  Sequence(const LanguageModel& model, std::span<const int32_t> prompt, const Team& team)
      : model_(model), state_(model.new_state()) {
    run_.use(team);
    advance(prompt);
  }
  void step(const Team& team) {
    run_.use(team);
    advance({&next_, 1});
  }

 private:
  void advance(std::span<const int32_t> ids) {
    const Arena::Scope scope(run_.arena());
    const auto length = static_cast<int64_t>(ids.size());
    const auto hidden = run_.matrix(length, model_.config().width);
    const auto logits = run_.matrix(1, model_.config().vocabulary);
    model_.hidden(run_, ids, state_, hidden);
    model_.logits(run_, hidden.slice_rows(length - 1, 1), logits);
    next_ = static_cast<int32_t>(argmax(logits.row(0), logits.cols));
  }

  const LanguageModel& model_;
  Run run_;
  State state_;
  int32_t next_ = 0;
};

/// Times of `batch` sequences at once, over the threads.
class Latency {
 public:
  Latency(const LanguageModel& model, const LatencySetting& setting)
      : model_(model),
        setting_(setting),
        prompt_len_(setting.request.prompt_len.value_or(kPromptLen)),
        gen_len_(setting.request.gen_len.value_or(kGenLen)),
        batch_(setting.request.batch.value_or(1)),
        threads_(setting.job.threads) {
    prompts_ = prompts_of(prompt_len_);
  }

  int64_t prompt_len() const { return prompt_len_; }
  int64_t gen_len() const { return gen_len_; }
  int64_t batch() const { return batch_; }
  int64_t threads() const { return threads_.count(); }

  Spread ttft() const { return spread_of(generations("ttft", prompts_, 1)); }
  Spread ttlt() const { return spread_of(generations("ttlt", prompts_, gen_len_)); }
  /// Seconds of each run: a prompt of so many tokens from a zero state; so many steps from one.
  std::vector<double> pp(int64_t tokens) const { return generations("pp", prompts_of(tokens), 1); }
  std::vector<double> tg(int64_t tokens) const { return generations("tg", prompts_of(1), tokens); }

  /// Of all sequences at once.
  Work prefill_work(int64_t tokens) const {
    return {(model_.work_of_blocks() * tokens + model_.work_of_head()) * batch_, bytes_read()};
  }
  Work step_work(int64_t times) const {
    // The least is what one sequence reads: all may be sent to the same experts.
    const int64_t bytes = bytes_read() - model_.size().unchosen;
    return {(model_.work_of_blocks() + model_.work_of_head()) * batch_, bytes, times};
  }
  Spread tpot() const {
    std::vector<std::unique_ptr<Sequence>> sequences(prompts_.size());
    Progress progress("tpot", "runs", setting_.job.quiet);
    for_each_sequence([&](size_t i, const Team& team) {
      sequences[i] = std::make_unique<Sequence>(model_, prompts_[i], team);
    });
    const auto step = [&] {
      for_each_sequence([&](size_t i, const Team& team) { sequences[i]->step(team); });
    };
    for (int64_t i = 0; i < kWarmUpSteps; ++i) step();
    std::vector<double> medians;
    for (int64_t r = 0; r < setting_.repeat; ++r) {
      std::vector<double> steps;
      for (int64_t i = 0; i < gen_len_; ++i) steps.push_back(seconds_of(step));
      medians.push_back(spread_of(std::move(steps)).median);
      progress.update(r + 1, setting_.repeat);
    }
    return spread_of(std::move(medians));
  }

 private:
  template <class F>
  void for_each_sequence(const F& work) const {
    threads_.for_each(batch_, [&](int64_t i, int worker) {
      work(static_cast<size_t>(i), threads_.team(worker));
    });
  }
  using Prompts = std::vector<std::vector<int32_t>>;
  Prompts prompts_of(int64_t tokens) const {
    Prompts out;
    for (int64_t i = 0; i < batch_; ++i) {
      out.push_back(random_ids(tokens, model_.config().vocabulary, static_cast<uint64_t>(i)));
    }
    return out;
  }
  /// Weights once, of the embedding only the rows of the tokens (nothing beside the rest), and the
  /// state of every sequence.
  int64_t bytes_read() const {
    const ModelSize size = model_.size();
    return size.total() - size.embedding + batch_ * model_.new_state().bytes();
  }
  /// Generations of `tokens` tokens, as `scute generate --greedy` makes them; one is not timed.
  std::vector<double> generations(const char* title, const Prompts& prompts, int64_t tokens) const {
    const auto all = [&] {
      for_each_sequence([&](size_t i, const Team& team) {
        generate(model_, prompts[i],
                 {.sampling = {.temperature = 0}, .max_tokens = tokens, .team = team});
      });
    };
    Progress progress(title, "runs", setting_.job.quiet);
    all();
    std::vector<double> seconds;
    for (int64_t r = 0; r < setting_.repeat; ++r) {
      progress.update(r + 1, setting_.repeat + 1);
      seconds.push_back(seconds_of(all));
    }
    return seconds;
  }

  const LanguageModel& model_;
  const LatencySetting& setting_;
  int64_t prompt_len_, gen_len_, batch_;
  Threads threads_;
  Prompts prompts_;
};

/// Bytes by kind. The sum over kinds of weights is what the model holds.
struct Sizes {
  std::vector<std::pair<std::string, int64_t>> weights;
  int64_t convolution_state = 0, recurrent_state = 0, cache_per_token = 0;
};

Sizes sizes_of(const LanguageModel& model) {
  Sizes out;
  const ModelSize size = model.size();
  out.weights = {
      {"total", size.total()}, {"linear", size.linear}, {"convolution", size.convolution},
      {"scan", size.scan},     {"norms", size.norms},   {"embedding", size.embedding},
      {"head", size.head}};
  const State state = model.new_state();
  for (const BlockState& block : state.blocks) {
    for (const PartState& part : block.parts) {
      // Without tokens a cache holds what the convolution before it keeps.
      if (const auto* cache = std::get_if<KeyValueCache>(&part)) {
        out.convolution_state += cache->bytes();
      }
      const auto* layer = std::get_if<LayerState>(&part);
      if (layer == nullptr) continue;
      const auto convolution =
          static_cast<int64_t>(layer->conv_values.size() * sizeof layer->conv_values[0]);
      out.convolution_state += convolution;
      out.recurrent_state += layer->bytes() - convolution;
    }
  }
  out.cache_per_token = model.cache_bytes_per_token();
  return out;
}

/// Builds the two forms of the answer side by side.
class LatencyAnswer {
 public:
  LatencyAnswer(const LatencySetting& setting, const Latency& latency) : setting_(setting) {
    json_["model"] = setting.model;
    json_["compute"] = setting.compute;
    json_["batch"] = latency.batch();
    json_["threads"] = latency.threads();
    json_["prompt_len"] = latency.prompt_len();
    json_["gen_len"] = latency.gen_len();
    json_["repeat"] = setting.repeat;
    json_["processor"] = processor_name();
    text_ = fmt::format("model    {}, {}, {} on {}\nmachine  {}\n", setting.model, setting.compute,
                        count_of(latency.batch(), "sequence"),
                        count_of(latency.threads(), "thread"), processor_name());
  }

  void add_size(const Sizes& sizes) {
    const std::string definition =
        "bytes held in memory: packed weights with embedding table and head; state of one sequence";
    Json& json = json_["size"];
    std::string kinds;
    for (const auto& [kind, bytes] : sizes.weights) {
      json["weight_bytes"][kind] = bytes;
      kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", bytes_text(bytes), kind);
    }
    json["state_bytes"]["convolution"] = sizes.convolution_state;
    json["state_bytes"]["recurrent"] = sizes.recurrent_state;
    json["state_bytes"]["cache_per_token"] = sizes.cache_per_token;
    json["state_bytes"]["total"] = sizes.convolution_state + sizes.recurrent_state;
    json["definition"] = definition;
    text_ += fmt::format(
        "size     weights {}; state {} a sequence, of these {} convolution and {} recurrence{}\n"
        "         {}\n",
        kinds, bytes_text(sizes.convolution_state + sizes.recurrent_state),
        bytes_text(sizes.convolution_state), bytes_text(sizes.recurrent_state),
        sizes.cache_per_token == 0
            ? ""
            : fmt::format(", and {} of keys and values a token", bytes_text(sizes.cache_per_token)),
        definition);
  }

  void add_time(const char* name, const Spread& time, const std::vector<Work>& work,
                const std::string& definition) {
    Json& json = json_[name];
    json["median_ms"] = time.median * 1e3;
    json["least_ms"] = time.least * 1e3;
    json["most_ms"] = time.most * 1e3;
    json["definition"] = definition;
    add_work(json, work, time.median, setting_.roofline);
    text_ += fmt::format("{:<8} {} ms, median of {} from {} to {}\n         {}\n         {}\n",
                         name, significant(time.median * 1e3), setting_.repeat,
                         significant(time.least * 1e3), significant(time.most * 1e3), definition,
                         work_text(work, time.median, setting_.roofline, 9));
  }

  /// `kind` is "pp" or "tg", `tokens` of all sequences together, `length` of one.
  void add_rate(const char* kind, int64_t length, int64_t tokens, const MeanRate& rate,
                const std::vector<Work>& work, const std::string& definition) {
    const std::string name = fmt::format("{}{}", kind, length);
    const double seconds = static_cast<double>(tokens) / rate.mean;
    Json& json = json_[kind];
    json["name"] = name;
    json["tokens"] = length;
    json["tokens_per_second"] = rate.mean;
    json["standard_deviation"] = rate.deviation ? Json(*rate.deviation) : Json();
    json["definition"] = definition;
    add_work(json, work, seconds, setting_.roofline);
    const std::string spread =
        rate.deviation ? fmt::format(" ± {}", rate_text(*rate.deviation)) : "";
    text_ += fmt::format("{:<8} {}{} tokens a second, mean of {}\n         {}\n         {}\n", name,
                         rate_text(rate.mean), spread, count_of(setting_.repeat, "run"), definition,
                         work_text(work, seconds, setting_.roofline, 9));
  }

  void add_roofline(const Roofline& roofline) {
    json_["roofline"] = as_json(roofline);
    text_ += "\n" + as_text(roofline);
  }

  void write(Output& out) const {
    setting_.job.answer(
        out, [&] { return json_; }, [&] { return text_; });
  }

 private:
  const LatencySetting& setting_;
  Json json_;
  std::string text_;
};

void add_rates(const Latency& latency, const LatencyRequest& request, const std::string& each,
               LatencyAnswer& answer) {
  if (request.pp) {
    const int64_t length = *request.pp, tokens = length * latency.batch();
    answer.add_rate("pp", length, tokens, mean_rate(tokens, latency.pp(length)),
                    {latency.prefill_work(length)},
                    fmt::format("a prompt of {} random tokens from a zero state, logits of the "
                                "last alone{}; 1 warm-up",
                                length, each));
  }
  if (request.tg) {
    const int64_t length = *request.tg, tokens = length * latency.batch();
    answer.add_rate("tg", length, tokens, mean_rate(tokens, latency.tg(length)),
                    {latency.step_work(length)},
                    fmt::format("{} steps of one token from a zero state, head and choice "
                                "included{}; 1 warm-up",
                                length, each));
  }
}

}  // namespace

void LatencyRequest::add_to(Options& options) {
  options.flag("--size", size, "bytes of the weights, and of the state of one sequence");
  options.flag(
      "--ttft", ttft,
      "time to first token: a prefill of --prompt-len tokens, the head for the last alone");
  options.flag("--tpot", tpot,
               "time per output token: one step after --prompt-len tokens, median of --gen-len");
  options.flag("--ttlt", ttlt,
               "time to last token: a prefill and --gen-len tokens from the state it left");
  options.integer("-p,--pp", pp, {.least = 1}, "",
                  "tokens a second of a prompt of so many tokens, mean and deviation: pp512 is -p "
                  "512");
  options.integer("-n,--tg", tg, {.least = 1}, "",
                  "tokens a second of so many single steps from a zero state: tg128 is -n 128");
  options.integer("--prompt-len", prompt_len, {.least = 1}, fmt::format("{}", kPromptLen),
                  "random tokens before the first that is generated");
  options.integer("--gen-len", gen_len, {.least = 1}, fmt::format("{}", kGenLen),
                  "tokens generated, always the likeliest");
  options.integer("--batch,--batch-size", batch, {1, 4096}, "1",
                  "sequences at once; times are those of all of them");
  options.only_with({"--prompt-len"}, "--ttft, --tpot or --ttlt",
                    [this] { return ttft || tpot || ttlt; });
  options.only_with({"--batch"}, "--ttft, --tpot, --ttlt, --pp or --tg",
                    [this] { return timed(); });
  options.only_with({"--gen-len"}, "--tpot or --ttlt", [this] { return tpot || ttlt; });
}

int64_t LatencyRequest::longest() const {
  const int64_t whole = prompt_len.value_or(kPromptLen) + gen_len.value_or(kGenLen);
  return std::max({whole, pp.value_or(0), tg.value_or(0)});
}

void bench_latency(const LanguageModel& model, const LatencySetting& setting, Output& out) {
  const Latency latency(model, setting);
  const LatencyRequest& request = setting.request;
  const std::string each = latency.batch() == 1 ? "" : " in each sequence, all of them at once";
  LatencyAnswer answer(setting, latency);
  if (request.size) answer.add_size(sizes_of(model));
  if (request.ttft) {
    answer.add_time("ttft", latency.ttft(), {latency.prefill_work(latency.prompt_len())},
                    fmt::format("from a zero state through {} random tokens to the first chosen "
                                "one, logits of the last alone{}; 1 warm-up",
                                latency.prompt_len(), each));
  }
  if (request.tpot) {
    answer.add_time("tpot", latency.tpot(), {latency.step_work(1)},
                    fmt::format("a step of one token after {} tokens, head and choice included{}; "
                                "the median over {} steps; {} steps warm-up",
                                latency.prompt_len(), each, latency.gen_len(), kWarmUpSteps));
  }
  if (request.ttlt) {
    answer.add_time(
        "ttlt", latency.ttlt(),
        {latency.prefill_work(latency.prompt_len()), latency.step_work(latency.gen_len() - 1)},
        fmt::format("from a zero state through {} random tokens and {} greedy ones in "
                    "the same state{}; 1 warm-up",
                    latency.prompt_len(), latency.gen_len(), each));
  }
  add_rates(latency, request, each, answer);
  if (setting.roofline != nullptr) answer.add_roofline(*setting.roofline);
  answer.write(out);
}

}  // namespace scute::cli
