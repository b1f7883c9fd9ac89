// scute sites for language models.
#include "cli/sites.h"

#include "cli/form.h"
#include "scute/language/collect.h"
#include "scute/language/trace.h"

namespace scute::cli {
namespace {

struct LanguageSitesRequest : SitesRequest {};

int run(LanguageSitesRequest& request, const Call&, Output& out) {
  const ModelDescription model = describe_model(request.model);
  std::vector<StoredScale> scales;
  if (request.find() && model.low_bit) scales = trace_scales(request.model).stored();
  return show_sites(list_sites(model), scales, request, out);
}

}  // namespace

Form language_sites_form() {
  return form<LanguageSitesRequest>(
      {.kind = ModelKind::language,
       .example = "scute sites examples/tiny-mamba1 find layer_3.x_proj:input"});
}

}  // namespace scute::cli
