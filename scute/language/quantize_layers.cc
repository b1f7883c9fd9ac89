// The matrices of a quantization whose Hessians come layer by layer, and what is kept of it.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "scute/base/hash.h"
#include "scute/language/gptq_checkpoint.h"
#include "scute/language/quantize_job.h"

namespace scute {
namespace {

/// All of it but the weights, which the model's hash stands for.
void add_job(const MatrixJob& job, const WeightFormat& format, Sha256& hash) {
  const auto add = [&](const auto& values) {
    hash.update(std::to_string(values.size()) + " values");
    hash.update(std::as_bytes(std::span(values)));
  };
  hash.update(fmt::format("{} {} {} {} {} {} {} {} {}", job.name, job.format.name(),
                          static_cast<int>(format.granularity), format.bits, format.group,
                          job.two_level, job.few_tokens, job.rotate_inputs, job.rotate_outputs));
  for (const std::string& site : job.hessian_sites) hash.update(" " + site);
  add(job.outputs);
  add(job.order);
  add(job.factors);
}

}  // namespace

Json QuantizeJob::kept_key() const {
  Json out = hessian_key(hessians_->meta);
  out["layer_by_layer"] = true;
  out["group"] = options_.group;
  out["per_tensor"] = options_.per_tensor;
  Sha256 hash;
  for (const Pending& pending : pending_) {
    const MatrixJob& job = pending.job;
    add_job(job, job.format.is_float() ? WeightFormat() : weight_format(job), hash);
  }
  out["matrices_sha256"] = hash.hex();
  return out;
}

void QuantizeJob::take_finished(const GptqCheckpoint& kept, std::vector<Pending*>& waiting) {
  std::erase_if(waiting, [&](Pending* pending) {
    const auto found = kept.finished().find(pending->job.name);
    if (found == kept.finished().end()) return false;
    pending->tensors = found->second.tensors;
    pending->report = found->second.report;
    end(*pending);
    return true;
  });
}

void QuantizeJob::finish_ready(std::vector<Pending*>& waiting, GptqCheckpoint* kept) {
  const auto is_here = [&](const std::string& site) { return of_layer_.sites.contains(site); };
  const auto later = std::stable_partition(waiting.begin(), waiting.end(), [&](const Pending* p) {
    return !std::ranges::all_of(p->job.hessian_sites, is_here);
  });
  const std::vector<Pending*> ready(later, waiting.end());
  waiting.erase(later, waiting.end());
  for (const Pending* pending : ready) {
    if (by_gptq(pending->job)) check_hessians(pending->job);
  }
  finish_some(ready);
  if (kept == nullptr) return;
  for (const Pending* pending : ready) {
    kept->add(pending->job.name, {pending->tensors, pending->report});
  }
}

/// First those that need no Hessian, then each when the last of its own has come; a Hessian goes
/// when nothing waits for it.
void QuantizeJob::finish_by_layers() {
  std::optional<GptqCheckpoint> kept;
  if (keeping_) kept.emplace(*keeping_, kept_key());
  std::vector<Pending*> now, waiting;
  for (Pending& pending : pending_) {
    const bool rounds = !pending.job.format.is_float() && !pending.job.hessian_sites.empty();
    (rounds ? waiting : now).push_back(&pending);
  }
  finish_some(now);
  LayeredHessians::Resumed from;
  if (kept) {
    take_finished(*kept, waiting);
    of_layer_.sites = kept->take_waiting();
    from = kept->take_resumed();
    kept->begin();
  }
  layered_->each(
      [&](LayeredHessians::Step step) {
        of_layer_.sites.merge(std::move(step.sums));
        finish_ready(waiting, kept ? &*kept : nullptr);
        std::erase_if(of_layer_.sites, [&](const auto& sum) {
          return std::ranges::none_of(waiting, [&](const Pending* p) {
            return std::ranges::find(p->job.hessian_sites, sum.first) != p->job.hessian_sites.end();
          });
        });
        if (kept) kept->end_step(step, of_layer_.sites);
      },
      from);
  for (const Pending* pending : waiting) check_hessians(pending->job);  // names what never came
}

}  // namespace scute
