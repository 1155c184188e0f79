// The words of the reader page, and French spacing.

export const LABELS = {
  claim: { name: "Affirmation", key: "a", means: "quelqu’un l’avance, avec quelque chose à vérifier" },
  denial: { name: "Démenti", key: "d", means: "quelqu’un rejette ou conteste" },
  attribution: { name: "Attribution", key: "t", means: "une parole, une source, rien de plus à vérifier" },
  background: { name: "Contexte", key: "c", means: "le journal le donne pour établi" },
};
// Of the cues that are shown: figures are seen without help.
export const KINDS = {
  source: "source", speech: "parole", denial: "démenti", "taken back": "démenti écarté", conditional: "conditionnel",
  hedge: "réserve", quotation: "guillemets",
};
export const FAILURES = {
  401: "Ce serveur demande un jeton d’accès : saisissez-le (ou vérifiez-le), puis relancez.",
  408: "L’envoi a pris trop de temps. Réessayez.",
  413: "L’article est trop long pour ce serveur. Collez-le en plusieurs fois.",
  422: "Le serveur ne peut pas lire cet article : il est trop long ou contient des caractères abîmés.",
  429: "Le serveur est très occupé. Réessayez dans quelques secondes.",
  503: "Le serveur est très occupé. Réessayez dans quelques secondes.",
  504: "L’article demande trop de temps. Collez-le en plusieurs fois.",
};

// In French, none and one are singular.
export const plural = (count, word) => `${count} ${word}${count > 1 ? "s" : ""}`;

// French spacing for our own words: no line begins with a colon or ends with an opening mark.
export const french = (text) => text.replaceAll("« ", "«\u00a0").replace(/ ([»:;?!%])/g, "\u00a0$1");
