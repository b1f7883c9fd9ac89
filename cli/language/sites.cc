// scute sites for language models.
#include "cli/sites.h"

#include "cli/form.h"
#include "scute/language/collect.h"

namespace scute::cli {
namespace {

struct LanguageSitesRequest : SitesRequest {};

int run(LanguageSitesRequest& request, const Call&, Output& out) {
  return show_sites(list_sites(describe_model(request.model)), request, out);
}

}  // namespace

Form language_sites_form() {
  return form<LanguageSitesRequest>(
      {.kind = ModelKind::language,
       .example = "scute sites examples/tiny-mamba1 find layer_3.x_proj:input"});
}

}  // namespace scute::cli
