"""The models of one job: its source, loaded once; in each form, proven once; and in each precision."""

from pathlib import Path

from modelrepo.generator.backends.backend import ONNX_FORM, Form
from modelrepo.generator.errors import ConversionError, ModelRepoError, VerificationError
from modelrepo.generator.optimize.variant import Variants
from modelrepo.generator.pipeline import failures
from modelrepo.generator.pipeline.job import Context, Job, Target
from modelrepo.generator.pipeline.proving import load, prove
from modelrepo.generator.pipeline.widening import chosen
from modelrepo.generator.system.asking import Limit
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered

# Folders of a staging folder, beside those of the targets: no model can have such a name.
EXPORTS, VARIANTS = ".exports", ".variants"
# A folder beside those of the forms, for a source that is served instead of the one that was chosen first.
NARROW = ".narrow"


class Models:
    """The models of a job, made when they are first asked for; files are put below ``folder``.

    Making one loads the source, which raises as ``load`` does. What failed once fails again, with the same exception.
    """

    def __init__(self, job: Job, folder: Path, context: Context) -> None:
        self.job, self.folder, self.context = job, folder, context
        self._limit = Limit(job.options.model, context.run.source_timeout)
        self._chosen = chosen(load(job, self._limit, context.progress), job.options)
        self._reference = Remembered(self._chosen.source.run)
        self._forms: dict[Form, Variants | ModelRepoError] = {}
        (folder / EXPORTS).mkdir()

    def proven(self, target: Target) -> Proven:
        """Return the source in the form that a target's backend is made from; errors as those of ``prove``."""
        return self._variants(target.backend.form).proven

    def served(self, target: Target) -> Proven:
        """Return the model that a target serves; precisions, pruning and clean-up change ONNX graphs only.

        Raises as ``prove`` and ``Variants.made`` do.
        """
        variants, backend = self._variants(target.backend.form), target.backend
        if backend.form is not ONNX_FORM:
            return variants.proven
        return variants.made(target.choice, read_by_tensorrt=backend.read_by_tensorrt)

    def _variants(self, form: Form) -> Variants:
        if form not in self._forms:
            try:
                self._forms[form] = self._proven_in(form)
            except failures.KINDS as error:
                self._forms[form] = failures.of(error, self.job.name, self.context.repository.root)
        found = self._forms[form]
        if isinstance(found, ModelRepoError):
            raise found
        return found

    def _proven_in(self, form: Form) -> Variants:
        job, progress = self.job, self.context.progress
        proven = self._proven(form)
        before = [each.proven for each in self._forms.values() if isinstance(each, Variants)]
        known = {note for each in before for note in each.notes}
        for note in proven.notes:
            if note not in known:
                progress.tell(note, job.name)
        return Variants(proven, job.options, self.folder / VARIANTS / form.name, progress)

    def _proven(self, form: Form) -> Proven:
        """Return the chosen source in a form; if that fails, the one to serve instead, which is chosen from then on."""
        job, progress, exports = self.job, self.context.progress, self.folder / EXPORTS
        try:
            return prove(job, self._chosen, self._reference, form, exports / form.name, self._limit, progress)
        except (ConversionError, VerificationError) as error:
            instead = self._chosen.instead_of(error.message)
            if instead is None:
                raise
            self._chosen, self._reference = instead, Remembered(instead.source.run)
            return prove(job, instead, self._reference, form, exports / NARROW / form.name, self._limit, progress)
