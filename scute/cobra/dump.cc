#include "scute/cobra/dump.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/language/site_keeper.h"

namespace scute {
namespace {

Tensor ids_of(const std::vector<DumpedPicture>& pictures) {
  const auto length = std::ssize(pictures.front().ids);
  std::vector<int32_t> out;
  for (const DumpedPicture& one : pictures) {
    if (std::ssize(one.ids) != length) {
      fail("text", fmt::format("{} tokens for every picture, as for the first", length),
           fmt::format("{}; dump such pictures one by one", one.ids.size()));
    }
    out.insert(out.end(), one.ids.begin(), one.ids.end());
  }
  return Tensor::of<int32_t>({std::ssize(pictures), length}, out);
}

}  // namespace

std::vector<NamedTensor> dump_cobra(const CobraModel& model,
                                    const std::vector<DumpedPicture>& pictures,
                                    const std::vector<Site>& sites, int threads) {
  if (pictures.empty()) fail("dump", "at least one picture", "none");
  const Tensor ids = ids_of(pictures);
  const LanguageModel& language = model.language();
  const int64_t batch = ids.dim(0), vectors = model.picture_tokens();
  const int64_t length = vectors + ids.dim(1);
  KeptSites kept(batch);
  for (const Site& site : sites) {
    if (site.has_one_shape()) kept.add(site, 0);
  }
  Tensor logits(DType::f32, {batch, length, language.config().vocabulary});
  const auto logit_rows = logits.mutable_matrix<float>();

  const Threads pool(threads);
  pool.for_each(batch, [&](int64_t b, int worker) {
    const DumpedPicture& one = pictures[static_cast<size_t>(b)];
    SiteKeeper keeper(kept, b);
    Run run(&keeper);
    run.use(pool.team(worker));
    const auto picture = run.matrix(vectors, model.width());
    model.picture(run, pixel_views(one.pixels), picture);
    State state = language.new_state();
    const auto hidden = run.matrix(length, model.width());
    language.hidden(run, picture, one.ids, state, hidden);
    language.logits(run, hidden, logit_rows.slice_rows(b * length, length));
  });

  std::vector<NamedTensor> out;
  if (ids.size() > 0) out.push_back({"ids", ids});
  out.push_back({"logits", std::move(logits)});
  for (NamedTensor& site : kept.take()) out.push_back(std::move(site));
  return out;
}

}  // namespace scute
